"""Attention in parts: each is a softmax by itself, and their sums (log-sum-exp) say how to put them together.

What comes out is what one softmax over all of it would give, so a split is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

_FUSED = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
"""The kernel behind `scaled_dot_product_attention` on a CPU, which keeps the log-sum-exp to itself."""


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
    kernel = _flash if mask is None and q.dtype in (torch.bfloat16, torch.float16) else _efficient
    if works(kernel, q.device, q.dtype, q.shape[-1]):
        return kernel(q, k, v, mask)
    return written_out(q, k, v, mask)


def written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Part:
    """What `attend` computes, by operators that every device has, in float32."""
    scores = (q.float() * q.shape[-1] ** -0.5) @ k.float().transpose(-1, -2)
    if mask is not None:
        scores = scores + mask
    lse = scores.logsumexp(dim=-1)
    return Part(((scores - lse[..., None]).exp() @ v.float()).to(v.dtype), lse)


Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None], Part]


def _flash(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Part:
    """Flash attention of a GPU: half precision, no mask."""
    attended, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)
    return Part(attended, lse)


def _efficient(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Part:
    """Memory-efficient attention of a GPU. Its mask is a view of rows of a multiple of eight."""
    keys = k.shape[-2]
    if mask is not None:
        mask = F.pad(mask, (0, -keys % 8))[..., :keys].expand(*q.shape[:-1], keys)
    attended, lse, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, mask, True)
    return Part(attended, lse[..., : q.shape[-2]])


@cache
def works(kernel: Kernel, device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether a GPU's kernel takes such heads, and says here what attention written out says.

    They are no public operators, so they are tried on a small example before they are trusted.
    """
    if device.type != "cuda":
        return False
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, n, head_dim, generator=generator).to(device, dtype) for n in (3, 70, 70))
    mask = None
    if kernel is _efficient:
        mask = torch.zeros(2, 1, 1, 70, dtype=dtype)
        mask[0, ..., 50:] = float("-inf")
        mask = mask.to(device)
    try:
        found = kernel(q, k, v, mask)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, AttributeError):
        return False
    expected = written_out(q, k, v, mask)
    return all(a.shape == b.shape and torch.allclose(a.float(), b.float(), atol=0.05)
               for a, b in zip(found, expected, strict=True))  # fmt: skip


def merge(a: Part, b: Part) -> Part:
    """What attention over both parts gives."""
    share = torch.sigmoid(a.lse - b.lse)[..., None]
    values = torch.lerp(b.values.float(), a.values.float(), share).to(a.values.dtype)
    return Part(values, torch.logaddexp(a.lse, b.lse))
