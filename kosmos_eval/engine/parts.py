"""Attention in parts: each is a softmax by itself, and their sums (log-sum-exp) say how to put them together.

What comes out is what one softmax over all of it would give, so a split is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

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
    scores = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).float()
    if mask is not None:
        scores = scores + mask
    lse = scores.logsumexp(dim=-1)
    return Part((scores - lse[..., None]).exp().to(v.dtype) @ v, lse)


def merge(a: Part, b: Part) -> Part:
    """What attention over both parts gives."""
    share = torch.sigmoid(a.lse - b.lse).to(a.values.dtype)[..., None]
    return Part(torch.lerp(b.values, a.values, share), torch.logaddexp(a.lse, b.lse))
