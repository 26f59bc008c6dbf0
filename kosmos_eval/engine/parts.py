"""Attention in parts: each is a softmax by itself, and their sums (log-sum-exp) say how to put them together.

What comes out is what one softmax over all of it would give, so a split is exact.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

_FUSED = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
_FLASH = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention", None)
"""The kernels behind `scaled_dot_product_attention` on a CPU and on a GPU, which keeps the log-sum-exp to itself."""


class Part(NamedTuple):
    """Attended values (..., head_dim) and the log-sum-exp of their scores (...)."""

    values: Tensor
    lse: Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Part:
    """(rows, heads, queries or keys, head_dim) each -> attended values, and log-sum-exp (rows, heads, queries).

    `mask` is added to the scores. Written out where torch has no operator that returns both.
    """
    if q.device.type == "cpu" and _FUSED is not None:
        attended, lse = _FUSED(q, k, v, 0.0, False, attn_mask=mask)
        return Part(attended, lse)
    if mask is None and flash_works(q.device, q.dtype, q.shape[-1]):
        return _flash(q, k, v)
    return written_out(q, k, v, mask)


def written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Part:
    """What `attend` computes, by operators that every device has."""
    scores = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).float()
    if mask is not None:
        scores = scores + mask
    lse = scores.logsumexp(dim=-1)
    return Part((scores - lse[..., None]).exp().to(v.dtype) @ v, lse)


def _flash(q: Tensor, k: Tensor, v: Tensor) -> Part:
    assert _FLASH is not None
    attended, lse, *_ = _FLASH(q, k, v)
    return Part(attended, lse)


@cache
def flash_works(device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether the GPU's kernel takes such heads, and says here what attention written out says.

    It is no public operator, so it is tried on a small example before it is trusted.
    """
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16) or _FLASH is None:
        return False
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, n, head_dim, generator=generator).to(device, dtype) for n in (3, 70, 70))
    try:
        found = _flash(q, k, v)
    except (RuntimeError, TypeError):
        return False
    expected = written_out(q, k, v)
    return all(a.shape == b.shape and torch.allclose(a.float(), b.float(), atol=0.05)
               for a, b in zip(found, expected, strict=True))  # fmt: skip


def merge(a: Part, b: Part) -> Part:
    """What attention over both parts gives."""
    share = torch.sigmoid(a.lse - b.lse).to(a.values.dtype)[..., None]
    return Part(torch.lerp(b.values, a.values, share), torch.logaddexp(a.lse, b.lse))
