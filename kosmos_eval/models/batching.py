"""Rows of tensors, made one at a time, that may stand in one batch: of one shape, or padded on the right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

Inputs = dict[str, Tensor]

_OWN_LENGTH = ("qformer_input_ids", "qformer_attention_mask", "decoder_input_ids")
"""Tensors (1, tokens) of another text than `input_ids`."""


class Batchable(Protocol):
    """What has the tensors of one row, and something else that must be equal in a batch."""

    @property
    def inputs(self) -> Inputs: ...

    @property
    def kind(self) -> object: ...


T = TypeVar("T", bound=Batchable)


def along_tokens(inputs: Inputs) -> list[str]:
    """The tensors with one entry a token: (1, tokens, ...)."""
    shape = inputs["input_ids"].shape
    return [k for k, v in inputs.items() if v.shape[:2] == shape and not k.startswith(("pixel", "qformer", "decoder"))]


def continued(inputs: Inputs, cut: int, ids: Sequence[int]) -> Inputs:
    """A row without its last `cut` tokens and with `ids` behind it; masks treat those as they do its last token."""
    tokens = set(along_tokens(inputs))
    found = {}
    for key, value in inputs.items():
        if key in tokens:
            new = value[:, -1:].repeat_interleave(len(ids), dim=1)
            if key == "input_ids":
                new = torch.tensor([list(ids)], dtype=value.dtype)
            value = torch.cat([value[:, : value.shape[1] - cut], new], dim=1)
        found[key] = value
    return found


def batches(rows: Sequence[T], size: int, *, pads: bool) -> Iterator[list[T]]:
    """Rows in batches of equal shapes, or of shapes that padding makes equal; by length, so that little is padded."""
    groups: dict[object, list[T]] = defaultdict(list)
    for row in rows:
        padded = {*along_tokens(row.inputs), *_OWN_LENGTH} if pads else set()
        shapes = {k: v.shape[:1] + v.shape[2:] if k in padded else v.shape for k, v in row.inputs.items()}
        groups[row.kind, tuple(sorted(shapes.items()))].append(row)
    for group in groups.values():
        group.sort(key=lambda r: r.inputs["input_ids"].shape[1])
        for i in range(0, len(group), size):
            yield group[i : i + size]


def collate(rows: Sequence[Inputs], pad: int, device: torch.device, dtype: torch.dtype) -> Inputs:
    """One batch of rows, padded on the right where they differ in length; masks are padded with zeros."""
    found = {}
    for key in rows[0]:
        values = [row[key] for row in rows]
        longest = max(v.shape[1] for v in values) if values[0].ndim > 1 else 0
        if any(v.ndim > 1 and v.shape[1] < longest for v in values):
            fill = pad if key == "input_ids" else 0
            values = [F.pad(v, (0, 0) * (v.ndim - 2) + (0, longest - v.shape[1]), value=fill) for v in values]
        whole = torch.cat(values).to(device)
        found[key] = whole.to(dtype) if whole.is_floating_point() else whole
    return found
