"""Where keys and queries meet: two kinds of pass, each reading the cache where it lies.

`PackedAttention` runs new positions of several rows in one pass of the network: the matrix products see them packed,
and each row attends to its own past (`split.SplitAttention` does the same in two parts). `StepAttention` adds one
position to every active row (or beam): all rows' queries meet the shared path in one product, and their own part in
another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kosmos_eval.engine.cache import PathCache, SlotCache, TailCache
from kosmos_eval.engine.parts import Part, attend, merge


@dataclass(slots=True)
class Piece:
    """The new positions of one row in a packed pass.

    They follow `path` positions of the path cache and then `own` positions of its slot. `new` counts them; the first
    `chain` are a plain causal sequence, the others a tree whose `sees` (new - chain, new - chain) says who sees whom
    (all see the chain). If the row has a `slot`, the chain's keys and values are kept there, from `keep_at` on.
    """

    path: int
    own: int
    chain: int
    new: int
    sees: Tensor | None = None
    slot: int | None = None
    keep_at: int = 0

    def sees_new(self) -> Tensor:
        """(new, new): which of the new positions each of them sees."""
        seen = torch.ones(self.new, self.new, dtype=torch.bool).tril()
        if self.sees is not None:
            seen[self.chain :, self.chain :] = self.sees
        return seen

    def mask(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """(new, path + own + new) to add to the scores: 0 where a position is seen, -inf elsewhere."""
        past = torch.ones(self.new, self.path + self.own, dtype=torch.bool)
        return blocking(torch.cat([past, self.sees_new()], dim=1), device, dtype)


def blocking(allowed: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """To add to scores: 0 where a position is seen, -inf elsewhere."""
    scores = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return scores.masked_fill_(~allowed, float("-inf")).to(device)


def hiding(lengths: Tensor, positions: int, dtype: torch.dtype) -> Tensor:
    """(rows, positions) to add to scores, of rows that see so many of the positions each."""
    seen = torch.arange(positions, device=lengths.device) < lengths[:, None]
    return blocking(seen, lengths.device, dtype)


class PackedAttention:
    """New positions of several rows, packed (tokens, heads, head_dim).

    A row without own past is written behind the path and attended in place; the next row overwrites it. A single piece
    stays there: that is how the path grows.
    """

    def __init__(
        self, pieces: list[Piece], path: PathCache, slots: SlotCache | None = None, *, device: torch.device,
        dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self.pieces, self.path, self.slots = pieces, path, slots
        path.reserve(max(p.path + p.own + p.new for p in pieces))
        self.masks = [p.mask(device, dtype) if p.path + p.own or p.sees is not None else None for p in pieces]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = torch.empty_like(q)
        q, k, v = (t.transpose(0, 1) for t in (q, k, v))
        start = 0
        for piece, mask in zip(self.pieces, self.masks, strict=True):
            rows = slice(start, start + piece.new)
            keys, values = self._past_and(piece, layer, k[:, rows], v[:, rows])
            attended = F.scaled_dot_product_attention(
                q[None, :, rows], keys[None], values[None], attn_mask=mask, is_causal=mask is None
            )
            out[rows] = attended[0].transpose(0, 1)
            start += piece.new
        return out

    def _past_and(self, piece: Piece, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The piece's keys and values with all they follow: (heads, path + own + new, head_dim)."""
        past, end = piece.path + piece.own, piece.path + piece.own + piece.new
        path_k, path_v = self.path.k[layer], self.path.v[layer]
        if piece.slot is not None and self.slots is not None:
            self.slots.keep(layer, piece.slot, piece.keep_at, k[:, : piece.chain], v[:, : piece.chain])
        if piece.own and self.slots is not None:
            own_k, own_v = (t[layer][piece.slot, :, : piece.own] for t in (self.slots.k, self.slots.v))
            keys = torch.cat([path_k[:, : piece.path], own_k, k], dim=1)
            return keys, torch.cat([path_v[:, : piece.path], own_v, v], dim=1)
        path_k[:, past:end], path_v[:, past:end] = k, v
        return path_k[:, :end], path_v[:, :end]


@dataclass(slots=True)
class StepAttention:
    """One new position for each of `rows * beams`, packed (rows * beams, heads, head_dim).

    Greedy rows (`beams == 1`, no tail) keep theirs in their slot at `at` (rows,); beams keep theirs in the tail. The
    first `shared` positions of the path and `own` positions of the slots are attended, the latter as far as `hidden`
    (rows, own) lets them be seen: 0 or -inf.
    """

    path: PathCache
    shared: int
    slots: SlotCache
    at: Tensor
    own: int
    hidden: Tensor
    beams: int = 1
    tail: TailCache | None = None

    @classmethod
    def behind(
        cls, path: PathCache, shared: int, slots: SlotCache, lengths: Sequence[int], beams: int = 1,
        tail: TailCache | None = None,
    ) -> StepAttention:  # fmt: skip
        """For rows with so many own positions each: what they have is seen, and nothing beyond it is read."""
        keys = slots.k[0]
        at, new = torch.tensor(lengths, device=keys.device), 0 if tail is not None else 1
        own = max(lengths) + new
        return cls(path, shared, slots, at, own, hiding(at + new, own, keys.dtype), beams, tail)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        slot_k, slot_v, rows = self.slots.k[layer], self.slots.v[layer], len(self.at)
        if self.tail is None:
            index = torch.arange(rows, device=q.device)
            slot_k[index, :, self.at], slot_v[index, :, self.at] = k, v
        own_k, own_v = slot_k[:rows, :, : self.own], slot_v[:rows, :, : self.own]
        of_own = attend(q.unflatten(0, (rows, self.beams)).transpose(1, 2), own_k, own_v, self.hidden[:, None, None])
        found = Part(*(t.transpose(1, 2).flatten(0, 1) for t in of_own))  # (rows * beams, heads, head_dim)
        if self.shared:
            path_k, path_v = (t[layer][None, :, : self.shared] for t in (self.path.k, self.path.v))
            of_path = attend(q.transpose(0, 1)[None], path_k, path_v)
            found = merge(Part(*(t[0].transpose(0, 1) for t in of_path)), found)
        if self.tail is not None:
            found = merge(self._of_tail(layer, q, k, v), found)
        return found.values

    def _of_tail(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Part:
        """Each beam's attention to what it wrote, this step included: (rows * beams, heads, head_dim)."""
        assert self.tail is not None
        found = attend(q.unflatten(0, (len(self.at), self.beams)).transpose(1, 2), *self.tail.add(layer, k, v))
        return Part(*(t.transpose(1, 2).flatten(0, 1) for t in found))
