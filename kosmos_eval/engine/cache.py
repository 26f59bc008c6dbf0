"""Keys and values: one path through the prefix tree, and the own part of every row that writes.

Memory is zeroed when it is taken: positions beyond a row's length get weight 0, but 0 times a stray NaN is NaN.

`PathCache` is a stack. The walk is depth-first, so one path is all that ever needs to be kept: a node's positions are
computed once, stay while its subtree is worked on, and are overwritten by the next sibling's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kosmos_eval.kosmos.config import TextConfig

GROWTH = 64
"""The path grows by so many positions: it is short, and what it takes beyond need is never shared."""


class _Tensors:
    """Keys and values of every layer."""

    k: list[Tensor]
    v: list[Tensor]

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in (*self.k, *self.v))


def _grown(old: Tensor, length: int) -> Tensor:
    """The same (..., positions, head_dim) with room for `length` positions."""
    new = old.new_empty(*old.shape[:-2], length, old.shape[-1])
    new[..., : old.shape[-2], :] = old
    new[..., old.shape[-2] :, :] = 0
    return new


class PathCache(_Tensors):
    """Keys and values of one path, attended in place: per layer (heads, positions, head_dim), contiguous."""

    def __init__(self, config: TextConfig, device: torch.device, dtype: torch.dtype) -> None:
        shape = (config.attention_heads, 0, config.head_dim)
        self.k = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.v = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.room = 0

    def reserve(self, length: int) -> None:
        """Makes room for `length` positions; what is there stays."""
        if length > self.room:
            self.room = -(-length // GROWTH) * GROWTH
            self.k = [_grown(t, self.room) for t in self.k]
            self.v = [_grown(t, self.room) for t in self.v]


class SlotCache(_Tensors):
    """The own positions of a batch of rows, behind their shared path: per layer (rows, heads, positions, head_dim).

    Rows `0 .. active` are still written; a row that is done changes places with the last active one, so that the active
    rows are always a view and nothing is copied at a step.
    """

    def __init__(self, config: TextConfig, rows: int, length: int, device: torch.device, dtype: torch.dtype) -> None:
        shape = (rows, config.attention_heads, length, config.head_dim)
        self.k = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.v = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]

    @property
    def room(self) -> int:
        return self.k[0].shape[2]

    def reserve(self, length: int) -> None:
        """Makes room for `length` positions in every row."""
        if length > self.room:
            room = max(length, self.room * 3 // 2)
            self.k = [_grown(t, room) for t in self.k]
            self.v = [_grown(t, room) for t in self.v]

    def swap(self, a: int, b: int, live: int) -> None:
        """Exchanges the first `live` positions of two rows."""
        if a != b:
            for t in (*self.k, *self.v):
                kept = t[a, :, :live].clone()
                t[a, :, :live] = t[b, :, :live]
                t[b, :, :live] = kept


class TailCache(_Tensors):
    """What beams wrote: per layer (rows * beams, heads, steps, head_dim). Only this is reordered when beams change."""

    def __init__(self, config: TextConfig, rows: int, steps: int, device: torch.device, dtype: torch.dtype) -> None:
        shape = (rows, config.attention_heads, steps, config.head_dim)
        self.k = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.v = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.steps = 0

    def reorder(self, sources: Sequence[int]) -> None:
        """Row i goes on from row `sources[i]`; rows beyond are given up."""
        if list(sources) == list(range(self.k[0].shape[0])):
            return
        index = torch.tensor(sources, device=self.k[0].device)
        for tensors in (self.k, self.v):
            for i, t in enumerate(tensors):
                kept = t.new_empty(len(sources), *t.shape[1:])
                kept[:, :, : self.steps] = t[index, :, : self.steps]
                tensors[i] = kept
