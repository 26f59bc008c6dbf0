"""Rows to padded tensors, and as many rows in a batch as its budget of tokens allows."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from kosmos_eval.mini.scripts import TrainingRow, build_row
from kosmos_eval.mini.skills import SKILLS, Draw, Stock
from kosmos_eval.mini.tokenizer import IMAGE_TOKENS, PAD

_SHIFTED, _FARTHEST = 0.2, 900
_DRAWN = 24
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded rows (rows, tokens), and flat lists of (row, position, ...) for the helpers."""

    ids: Tensor
    index: Tensor
    weights: Tensor
    image_rows: Tensor
    image_places: Tensor
    images: Tensor
    here: Tensor
    ahead: Tensor
    bins: Tensor
    starts: Tensor
    scores: Tensor
    verdicts: Tensor
    sides: Tensor


def _flat(rows: Sequence[TrainingRow], name: str, dtype: torch.dtype, device: torch.device, size: int = 3) -> Tensor:
    found = [(number, *entry) for number, row in enumerate(rows) for entry in getattr(row, name)]
    return torch.tensor(found, dtype=dtype, device=device).reshape(-1, size)


def collate(rows: Sequence[TrainingRow], width: int, device: torch.device, shifts: Sequence[int]) -> Batch:
    """Pads on the right. A shift moves all of a row but `<s>` to later positions, as if examples had come before."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), PAD)
    weights = torch.zeros(len(rows), longest)
    index = torch.arange(longest).repeat(len(rows), 1)
    for number, (row, shift) in enumerate(zip(rows, shifts, strict=True)):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        weights[number, : len(row.ids)] = torch.tensor(row.weights)
        index[number, 1:] += shift
    pictures = [(number, start, embeds) for number, row in enumerate(rows) for start, embeds in row.pictures]
    images = torch.stack([p[2] for p in pictures]) if pictures else torch.zeros(0, IMAGE_TOKENS, width)
    return Batch(
        ids=ids.to(device),
        index=index.to(device),
        weights=weights.to(device),
        image_rows=torch.tensor([p[0] for p in pictures], dtype=torch.long, device=device),
        image_places=torch.tensor([p[1] for p in pictures], dtype=torch.long, device=device),
        images=images.to(device),
        here=_flat(rows, "here", torch.long, device),
        ahead=_flat(rows, "ahead", torch.long, device),
        bins=_flat(rows, "bins", torch.long, device),
        starts=_flat(rows, "starts", torch.long, device, 4),
        scores=_flat(rows, "scores", torch.float32, device),
        verdicts=_flat(rows, "verdicts", torch.float32, device, 4),
        sides=_flat(rows, "sides", torch.long, device, 4),
    )


def embed(table: Tensor, batch: Batch) -> Tensor:
    """Word embeddings (rows, tokens, width) with the pictures' tokens in their places."""
    embeds = table[batch.ids]
    if len(batch.images):
        places = batch.image_places[:, None] + torch.arange(IMAGE_TOKENS, device=embeds.device)
        embeds = embeds.index_put((batch.image_rows[:, None], places), batch.images.to(embeds.dtype))
    return embeds


def draw_rows(rng: random.Random, stock: Stock, skill: str, longest: int, budget: int) -> list[TrainingRow]:
    """Rows of one skill and of about one length, as many as fit the budget."""
    drawn = [build_row(SKILLS[skill](Draw(rng, stock, longest))) for _ in range(_DRAWN)]
    return of_one_length(rng, drawn, _length, budget)


def of_one_length(rng: random.Random, drawn: Sequence[T], length: Callable[[T], int], budget: int) -> list[T]:
    """Neighbours in length among what was drawn, as many as fit the budget: of random lengths a third is padding."""
    ordered = sorted(drawn, key=length)
    first = last = rng.randrange(len(ordered))
    while first > 0 and length(ordered[last]) * (last - first + 2) <= budget:
        first -= 1
    while last + 1 < len(ordered) and length(ordered[last + 1]) * (last - first + 2) <= budget:
        last += 1
    return ordered[first : last + 1]


def _length(row: TrainingRow) -> int:
    return len(row.ids)


def draw_shifts(rng: random.Random, rows: Sequence[TrainingRow]) -> list[int]:
    """Mostly none."""
    return [rng.randrange(_FARTHEST) if rng.random() < _SHIFTED else 0 for _ in rows]
