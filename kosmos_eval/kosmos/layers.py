"""The few pieces that the vision tower and the decoder share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's approximation of GELU. Without gradients in one new tensor, not three: these are the largest there are."""
    if torch.is_grad_enabled():
        return x * torch.sigmoid(1.702 * x)
    return (1.702 * x).sigmoid_().mul_(x)


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The activation function of that Hugging Face name."""
    functions: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "quick_gelu": quick_gelu}
    return functions[name]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(..., width) -> (..., heads, head_dim)."""
    return x.unflatten(-1, (heads, -1))


def embedding(rows: int, width: int, padding_idx: int | None = None) -> nn.Embedding:
    """`nn.Embedding`, filled as it fills itself, but without `normal_`: on the meta device, where networks are built
    before they are read from a file, that imports torch's compiler, which takes a second."""
    weight = torch.randn(rows, width)
    if padding_idx is not None:
        weight[padding_idx] = 0
    return nn.Embedding.from_pretrained(weight, freeze=False, padding_idx=padding_idx)


class FusedQKV(nn.Module):
    """Query, key and value projections in one matrix product; a checkpoint stores them apart (see `weights`)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.proj = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., width) -> three of (..., heads, head_dim)."""
        q, k, v = self.proj(x).chunk(3, dim=-1)
        return split_heads(q, self.heads), split_heads(k, self.heads), split_heads(v, self.heads)
