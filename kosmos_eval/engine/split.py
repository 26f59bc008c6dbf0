"""Attention in two parts: of all rows to their shared path at once, and of each row to what is its own.

The path is read once for all rows, without a mask or a copy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kosmos_eval.engine.attention import PackedAttention, Piece, blocking
from kosmos_eval.engine.cache import PathCache, SlotCache
from kosmos_eval.engine.parts import Part, attend, merge

PATH_PER_POSITION = 10
"""On a CPU the split wins where the path has at least so many positions for each new one of a row.

Measured with 500 new positions a pass, one thread, shapes mini, small and full (in place / split): paths of 10 to 20
times a row's new positions 1.0 to 1.4, of 40 times 1.3 to 1.6, of 130 and more 1.6 to 3.4; of 4 times 0.9 to 1.0.
"""


def pays(pieces: Sequence[Piece], device: torch.device) -> bool:
    """Whether a pass is better split. A single row without own past stays in place: that is how the path grows.

    Where rows have a past of their own, attending in place would copy the path for each of them. On a GPU, one pass of
    attention over all rows replaces one for each.
    """
    path, rows = pieces[0].path, len(pieces)
    if not path or (rows == 1 and not pieces[0].own):
        return False
    if device.type != "cpu" or any(piece.own for piece in pieces):
        return True
    return path * rows >= PATH_PER_POSITION * sum(piece.new for piece in pieces)


def packed_attention(
    pieces: list[Piece], path: PathCache, slots: SlotCache | None, *, device: torch.device, dtype: torch.dtype
) -> PackedAttention | SplitAttention:
    """The better way for a pass over these pieces."""
    kind = SplitAttention if pays(pieces, device) else PackedAttention
    return kind(pieces, path, slots, device=device, dtype=dtype)


class SplitAttention:
    """What `PackedAttention` computes, in two parts; the own parts of all rows as one batch, padded."""

    def __init__(
        self, pieces: list[Piece], path: PathCache, slots: SlotCache | None = None, *, device: torch.device,
        dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self.pieces, self.path, self.slots = pieces, path, slots
        self.shared = pieces[0].path
        if any(piece.path != self.shared for piece in pieces):
            raise ValueError("rows of one pass share one path")
        self.own = max(piece.own for piece in pieces)
        longest = max(piece.new for piece in pieces)
        token = torch.zeros(len(pieces), longest, dtype=torch.long)
        there = []
        allowed = torch.zeros(len(pieces), longest, self.own + longest, dtype=torch.bool)
        allowed[:, :, self.own] = True  # padding sees something, lest it become NaN
        start = 0
        for row, piece in enumerate(pieces):
            new = slice(0, piece.new)
            token[row] = start  # padding is the row's own: a row that is no number must not reach the others
            token[row, new] = torch.arange(start, start + piece.new)
            there += [row * longest + place for place in range(piece.new)]
            allowed[row, new, : piece.own] = True
            allowed[row, new, self.own : self.own + piece.new] = piece.sees_new()
            start += piece.new
        self.token, self.there = token.to(device), torch.tensor(there, device=device)
        self.mask = blocking(allowed[:, None], device, dtype)
        self.rows = torch.tensor([piece.slot or 0 for piece in pieces], device=device)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Three of (tokens, heads, head_dim) to the attended values of the same shape."""
        path_k, path_v = self.path.k[layer][None, :, : self.shared], self.path.v[layer][None, :, : self.shared]
        of_path, path_lse = attend(q.transpose(0, 1)[None], path_k, path_v)
        padded_q, own_k, own_v = (t[self.token].transpose(1, 2) for t in (q, k, v))
        if self.own and self.slots is not None:
            past_k, past_v = (t[layer][self.rows, :, : self.own] for t in (self.slots.k, self.slots.v))
            own_k, own_v = torch.cat([past_k, own_k], dim=2), torch.cat([past_v, own_v], dim=2)
        of_own, own_lse = attend(padded_q, own_k, own_v, self.mask)
        self._keep(layer, k, v)
        own = Part(*(t.transpose(1, 2).flatten(0, 1)[self.there] for t in (of_own, own_lse)))
        return merge(Part(of_path[0].transpose(0, 1), path_lse[0].transpose(0, 1)), own).values

    def _keep(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Keeps the chains' keys and values in their slots."""
        start = 0
        for piece in self.pieces:
            if piece.slot is not None and self.slots is not None:
                chain = slice(start, start + piece.chain)
                kept_k, kept_v = k[chain].transpose(0, 1), v[chain].transpose(0, 1)
                self.slots.keep(layer, piece.slot, piece.keep_at, kept_k, kept_v)
            start += piece.new
