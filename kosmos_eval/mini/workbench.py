"""What every stage shares: the run's folder, its log, its checkpoints, and a random stream for each step."""

from __future__ import annotations

import contextlib
import functools
import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kosmos_eval.kosmos.model import Kosmos
from kosmos_eval.mini.config import Recipe


def device_of_choice() -> torch.device:
    """A CUDA GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@functools.cache
def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 pays: on any GPU, and on a CPU if one product is faster so; where it is emulated, it is ten
    times slower."""
    if device.type != "cpu":
        return True
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(512, 512, dtype=dtype)
        a @ a
        began = time.perf_counter()
        for _ in range(4):
            a @ a
        seconds[dtype] = time.perf_counter() - began
    return seconds[torch.bfloat16] < seconds[torch.float32]


def step_rng(seed: int, stage: str, step: int) -> random.Random:
    """The random stream of one step. It depends on nothing before, so a resumed run draws what it would have drawn."""
    return random.Random(f"kosmos-mini:{seed}:{stage}:{step}")


@dataclass(slots=True)
class Workbench:
    """A run's folder. The network lives here; stages bring their own heads and optimisers."""

    recipe: Recipe
    out: Path
    network: Kosmos
    device: torch.device
    warm: bool = False
    """Whether the network began as a trained checkpoint, which needs no head start."""
    worker: int = 0
    workers: int = 1
    """This worker's number, and how many share the run; the first writes its files."""
    started: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)

    def stream(self, stage: str, step: int) -> random.Random:
        """This worker's random stream of one step."""
        return step_rng(self.recipe.seed, self.own(stage), step)

    def own(self, name: str) -> str:
        """The name of what each worker draws for itself; the first's is that of a run without others."""
        return f"{name}:{self.worker}" if self.worker else name

    def log(self, stage: str, step: int, **figures: Any) -> None:
        """One line of JSON."""
        if self.worker:
            return
        row = {"stage": stage, "step": step, "seconds": round(time.monotonic() - self.started, 1)}
        row |= {k: round(v, 5) if isinstance(v, float) else v for k, v in figures.items()}
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    def checkpoint(self, stage: str) -> Path:
        return self.out / f"{stage}.pt"

    def mixed_precision(self) -> contextlib.AbstractContextManager[object]:
        """bfloat16 products where that is faster, else nothing."""
        if not fast_bfloat16(self.device):
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def due(self) -> bool:
        """Whether it is time to save again."""
        return not self.worker and time.monotonic() - self.saved > 60 * self.recipe.save_minutes

    def save(self, stage: str, step: int, heads: nn.Module, optimiser: torch.optim.Optimizer, **extra: Any) -> None:
        """Writes the stage's state whole, or not at all."""
        if self.worker:
            return
        state = {
            "step": step, "network": self.network.state_dict(), "heads": heads.state_dict(),
            "optimiser": optimiser.state_dict(), "extra": extra,
        }  # fmt: skip
        partial = self.out / f"{stage}.partial"
        torch.save(state, partial)
        partial.replace(self.checkpoint(stage))
        self.saved = time.monotonic()

    def restore(
        self, stage: str, heads: nn.Module | None = None, optimiser: torch.optim.Optimizer | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Reads the stage's state back; returns the step to go on with (0 if there is none) and what else was kept."""
        path = self.checkpoint(stage)
        if not path.is_file():
            return 0, {}
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        if heads is not None:
            heads.load_state_dict(state["heads"])
        if optimiser is not None:
            optimiser.load_state_dict(state["optimiser"])
        return int(state["step"]), dict(state["extra"])


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The rate of this step; a group's own `scale` multiplies it."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
