"""Keys and values: one path through the prefix tree, and the own part of every row that writes.

Memory is zeroed before it is used: positions beyond a row's length get weight 0, but 0 times a stray NaN is NaN.

`PathCache` is a stack. The walk is depth-first, so one path is all that ever needs to be kept: a node's positions are
computed once, stay while its subtree is worked on, and are overwritten by the next sibling's.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

from kosmos_eval.kosmos.config import TextConfig

GROWTH = 64
"""A path's memory grows by so many positions at once."""
_CLEARED = 4
"""So many positions of a slot are cleared ahead: more would be memory that nobody uses."""


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
            # On a GPU, what was recorded has to be recorded anew when the path moves: there it moves rarely.
            least = length if self.k[0].device.type == "cpu" else max(length, 2 * self.room)
            self.room = -(-least // GROWTH) * GROWTH
            self.k = [_grown(t, self.room) for t in self.k]
            self.v = [_grown(t, self.room) for t in self.v]


class SlotCache(_Tensors):
    """The own positions of a batch of rows, behind their shared path: per layer (rows, heads, positions, head_dim).

    Rows `0 .. active` are still written; a row that is done changes places with the last active one, so that the active
    rows are always a view and nothing is copied at a step. There is `room` for what rows may come to write, so that
    nothing is copied when they write on, either; what lies beyond `clean` was never touched, and on a CPU takes no
    memory.
    """

    def __init__(self, config: TextConfig, rows: int, room: int, device: torch.device, dtype: torch.dtype) -> None:
        shape = (rows, config.attention_heads, room, config.head_dim)
        self.k = [torch.empty(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.v = [torch.empty(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.clean = 0

    def lend(self, rows: int, room: int) -> SlotCache:
        """The first of its slots and positions, for a batch that comes after others: all of it is cleared."""
        lent = copy(self)
        lent.k, lent.v = ([t[:rows, :, :room] for t in tensors] for tensors in (self.k, self.v))
        for tensor in (*self.k, *self.v):
            tensor.zero_()
        lent.clean = room
        return lent

    @property
    def room(self) -> int:
        return self.k[0].shape[2]

    @property
    def nbytes(self) -> int:
        """What was touched on a CPU; elsewhere all of the memory that it lies in."""
        if self.k[0].device.type != "cpu":
            return sum(t.untyped_storage().nbytes() for t in (*self.k, *self.v))
        return super().nbytes * self.clean // self.room if self.room else 0

    def reserve(self, length: int) -> None:
        """Makes the first `length` positions of every row fit for use; what is there stays."""
        if length > self.room:
            room = max(length, self.room * 3 // 2)
            # What lies beyond `clean` may hold anything, and is not taken along.
            self.k = [_grown(t[:, :, : self.clean], room) for t in self.k]
            self.v = [_grown(t[:, :, : self.clean], room) for t in self.v]
            self.clean = room
        if length > self.clean:
            ready = min(self.room, length + _CLEARED)
            for t in (*self.k, *self.v):
                t[:, :, self.clean : ready] = 0
            self.clean = ready

    def keep(self, layer: int, row: int, start: int, k: Tensor, v: Tensor) -> None:
        """Writes keys and values (heads, positions, head_dim) of a row from `start` on."""
        kept = slice(start, start + k.shape[1])
        self.k[layer][row, :, kept], self.v[layer][row, :, kept] = k, v

    def swap(self, a: int, b: int, live: int) -> None:
        """Exchanges the first `live` positions of two rows."""
        if a != b:
            for t in (*self.k, *self.v):
                kept = t[a, :, :live].clone()
                t[a, :, :live] = t[b, :, :live]
                t[b, :, :live] = kept


class TailCache(_Tensors):
    """What beams wrote: per layer (rows, heads, steps * beams, head_dim), for each step what each beam of it added.

    What is written stays with its row. A beam goes on from another one by seeing what that one saw: `hidden`
    (rows, beams, steps * beams) is 0 where a beam sees a position of its row, else -inf.
    """

    def __init__(
        self, config: TextConfig, rows: int, beams: int, steps: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (rows, config.attention_heads, steps * beams, config.head_dim)
        self.k = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.v = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        own = torch.full((beams, beams), float("-inf"), dtype=dtype).fill_diagonal_(0)
        self.hidden = own.repeat(1, steps).repeat(rows, 1, 1).to(device)
        self.beams, self.steps = beams, 0

    @property
    def nbytes(self) -> int:
        """All that was taken, for rows that are done as well."""
        return sum(t.untyped_storage().nbytes() for t in (*self.k, *self.v))

    def add(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keeps (rows * beams, heads, head_dim) of this step; what the beams' queries meet: keys, values, a mask."""
        start, end = self.steps * self.beams, (self.steps + 1) * self.beams
        for kept, new in ((self.k[layer], k), (self.v[layer], v)):
            kept[:, :, start:end] = new.unflatten(0, (len(kept), self.beams)).transpose(1, 2)
        return self.k[layer][:, :, :end], self.v[layer][:, :, :end], self.hidden[:, None, :, :end]

    def reorder(self, sources: Sequence[int]) -> None:
        """Beam i goes on from beam `sources[i]`, all beams of a row from those of one row; rows beyond are given up."""
        written = self.steps * self.beams
        came = [source // self.beams for source in sources[:: self.beams]]
        if moved := [row for row, source in enumerate(came) if row != source]:
            to, index = (torch.tensor(rows, device=self.k[0].device) for rows in (moved, [came[row] for row in moved]))
            for t in (*self.k, *self.v):
                t[to, :, :written] = t[index, :, :written]
        lines = self.hidden.flatten(0, 1)[torch.tensor(sources, device=self.hidden.device)]
        self.hidden = self.hidden[: len(came)]
        self.hidden[:, :, :written] = lines[:, :written].unflatten(0, (len(came), self.beams))
        for tensors in (self.k, self.v):
            tensors[:] = [t[: len(came)] for t in tensors]
