"""A head start for the vision tower: attention heads that look at a neighbouring patch from the first step on.

Letters straddle patches, so a patch must look beside itself before it can read. A tower with random heads takes long to
find that out. Here positions are Fourier codes, and a head's query is that code shifted by the head's offset.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from kosmos_eval.kosmos.vision import VisionBlock, VisionTower
from kosmos_eval.mini.dense_labels import GRID

HARMONICS = 8
CODE = 4 * HARMONICS
"""Dimensions of the position code: sine and cosine of 8 harmonics, for columns and for rows."""
OFFSETS = (
    ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1)),
    ((-1, 0), (1, 0), (-2, 0), (0, -1), (0, 1)),
    ((-1, 0), (-2, 0), (-3, 0), (1, 0)),
)
"""(columns, rows) to the right and down, for the first heads of the first blocks; other heads stay free."""
_SHARPNESS = 2.2


def axis_code(places: Tensor) -> Tensor:
    """(n,) -> (n, 2 * HARMONICS), such that the product of two codes peaks where the places are equal."""
    angle = places[:, None] * (2 * math.pi / (GRID + 1)) * torch.arange(1, HARMONICS + 1)
    return torch.cat([angle.sin(), angle.cos()], dim=1) * math.sqrt(2)


def rotation(shift: int) -> Tensor:
    """The matrix that turns an axis code into that of the place `shift` further on."""
    angle = shift * (2 * math.pi / (GRID + 1)) * torch.arange(1, HARMONICS + 1)
    cosine, sine = torch.diag(angle.cos()), torch.diag(angle.sin())
    return torch.cat([torch.cat([cosine, sine], 1), torch.cat([-sine, cosine], 1)], 0)


@torch.no_grad()
def init_vision(tower: VisionTower) -> None:
    """Unit-scale weights everywhere, position codes in the first dimensions, and the neighbour heads."""
    for module in tower.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.8 / math.sqrt(module.in_features))
            nn.init.zeros_(module.bias)
    patch, position = tower.embedding.patch.weight, tower.embedding.position.weight
    nn.init.normal_(patch, std=1.0 / math.sqrt(patch[0].numel()))
    patch[:CODE] = 0
    nn.init.normal_(position, std=0.02)
    axis = axis_code(torch.arange(GRID, dtype=torch.float32))
    position[1:, : CODE // 2] = axis.repeat(GRID, 1)
    position[1:, CODE // 2 : CODE] = axis.repeat_interleave(GRID, 0)
    position[0, :CODE] = 0
    for block, offsets in zip(tower.blocks, OFFSETS, strict=False):
        for head, offset in enumerate(offsets[: tower.blocks[0].qkv.heads]):  # type: ignore[union-attr, index]
            _point(block, head, offset)  # type: ignore[arg-type]


def keep_positions(tower: VisionTower) -> None:
    """Nothing writes into the dimensions of the position code, now or in training: the resampler reads it."""
    for name, parameter in tower.blocks.named_parameters():
        if name.split(".")[1] in ("out", "fc2"):
            parameter.data[:CODE] = 0
            parameter.register_hook(_without_code)


def _without_code(gradient: Tensor) -> Tensor:
    gradient = gradient.clone()
    gradient[:CODE] = 0
    return gradient


def _point(block: VisionBlock, head: int, offset: tuple[int, int]) -> None:
    """Makes one head attend to the patch at an offset."""
    width = block.out.in_features
    size = width // block.qkv.heads
    rows = slice(head * size, head * size + CODE)
    weight = block.qkv.proj.weight
    query, key = weight[:width], weight[width : 2 * width]
    query[rows] = key[rows] = 0
    query[rows, :CODE] = _SHARPNESS * torch.block_diag(rotation(offset[0]), rotation(offset[1]))
    key[rows, :CODE] = torch.eye(CODE)
