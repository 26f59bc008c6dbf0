"""Several workers on one run: each draws examples of its own, and all of them step on the mean of their gradients.

`torchrun --nproc-per-node 2 -m kosmos_eval.mini.train ...` starts two. On a CPU two workers of one thread each do more
than one worker of two threads: what a step does besides matrix products (drawing pictures, laying out rows) has one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import distributed, nn


def join() -> tuple[int, int]:
    """This worker's number and how many there are, as `torchrun` says; (0, 1) without it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return 0, 1
    distributed.init_process_group("gloo")
    return distributed.get_rank(), count


def leave() -> None:
    """The end of what `join` began."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def average_gradients(parameters: Sequence[nn.Parameter], workers: int) -> None:
    """The mean over all workers, in place. What one of them has no gradient for counts as zero there; what none of
    them has stays without, so that no optimiser moves it."""
    if workers == 1:
        return
    held = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32)
    flat = torch.cat([held, *((torch.zeros_like(p) if p.grad is None else p.grad).flatten().cpu() for p in parameters)])
    distributed.all_reduce(flat)
    held, *means = (flat / workers).split([len(parameters), *(p.numel() for p in parameters)])
    for parameter, mean, somewhere in zip(parameters, means, held.tolist(), strict=True):
        parameter.grad = mean.view_as(parameter).to(parameter.device) if somewhere else None
