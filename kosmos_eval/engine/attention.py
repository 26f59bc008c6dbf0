"""Where keys and queries meet: two kinds of pass, each reading the cache where it lies.

`PackedAttention` runs new positions of several rows in one pass of the network: the matrix products see them packed,
and each row attends to its own past (`split.SplitAttention` does the same in two parts). `StepAttention` adds one
position to every active row (or beam): all rows' queries meet the shared path in one product, and their own part in
another; one softmax spans both, so the split is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kosmos_eval.engine.cache import PathCache, SlotCache, TailCache


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
    return torch.zeros(allowed.shape, dtype=dtype).masked_fill_(~allowed, float("-inf")).to(device)


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


class StepAttention:
    """One new position for each of `rows * beams`, packed (rows * beams, heads, head_dim).

    Greedy rows (`beams == 1`, no tail) keep theirs in their slot at `lengths`; beams keep theirs in the tail.
    """

    def __init__(
        self, path: PathCache, shared: int, slots: SlotCache, lengths: Tensor, beams: int, tail: TailCache | None
    ) -> None:
        self.path, self.shared, self.slots, self.tail = path, shared, slots, tail
        self.lengths, self.beams = lengths, beams
        self.rows = len(lengths)
        written = lengths if tail is not None else lengths + 1
        self.longest = int(written.max())
        seen = torch.arange(self.longest, device=lengths.device)[None] < written[:, None]
        # (rows, 1, 1, positions); adding in place takes a tenth of the time of filling a copy
        self.hidden = torch.zeros_like(seen, dtype=slots.k[0].dtype).masked_fill_(~seen, float("-inf"))[:, None, None]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rows, heads, width = self.rows, q.shape[1], q.shape[2]
        slot_k, slot_v = self.slots.k[layer], self.slots.v[layer]
        if self.tail is None:
            index = torch.arange(rows, device=q.device)
            slot_k[index, :, self.lengths], slot_v[index, :, self.lengths] = k, v
        q = q * width**-0.5
        own_k, own_v = slot_k[:rows, :, : self.longest], slot_v[:rows, :, : self.longest]
        per_row = q.view(rows, self.beams, heads, width).transpose(1, 2)  # (rows, heads, beams, width)
        own = (per_row @ own_k.transpose(-1, -2)).add_(self.hidden)
        folded = q.transpose(0, 1)  # (heads, rows * beams, width)
        path_k, path_v = self.path.k[layer][:, : self.shared], self.path.v[layer][:, : self.shared]
        shared = (folded @ path_k.transpose(-1, -2)).unflatten(1, (rows, self.beams)).transpose(0, 1)
        scores = [shared, own]
        if self.tail is not None:
            scores.append(self._tail_scores(layer, q, k, v))
        weights = torch.cat(scores, dim=-1).softmax(dim=-1, dtype=torch.float32).to(q.dtype)
        parts = weights.split([s.shape[-1] for s in scores], dim=-1)
        out = parts[1] @ own_v + (parts[0].transpose(0, 1).flatten(1, 2) @ path_v).unflatten(
            1, (rows, self.beams)
        ).transpose(0, 1)
        if self.tail is not None:
            steps = self.tail.steps + 1
            beams = parts[2].transpose(1, 2).flatten(0, 1).unsqueeze(2)  # (rows * beams, heads, 1, steps)
            attended = (beams @ self.tail.v[layer][:, :, :steps]).squeeze(2)
            out = out + attended.unflatten(0, (rows, self.beams)).transpose(1, 2)
        return out.transpose(1, 2).flatten(0, 1)

    def _tail_scores(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Scores of what each beam wrote, this step included: (rows, heads, beams, steps + 1)."""
        assert self.tail is not None
        step = self.tail.steps
        self.tail.k[layer][:, :, step], self.tail.v[layer][:, :, step] = k, v
        scores = q.unsqueeze(2) @ self.tail.k[layer][:, :, : step + 1].transpose(-1, -2)
        return scores.squeeze(2).unflatten(0, (self.rows, self.beams)).transpose(1, 2)
