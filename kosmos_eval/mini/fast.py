"""The network's forward passes as training wants them: same weights, eager attention.

On a CPU in bfloat16, plain matrix products beat `scaled_dot_product_attention`, whose backward is slow there
(1.2 to 1.4 times, measured). Training also needs to see attention weights, which the fused form never shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kosmos_eval.kosmos.decoder import Decoder
from kosmos_eval.kosmos.layers import split_heads
from kosmos_eval.kosmos.resampler import Resampler
from kosmos_eval.kosmos.vision import VisionTower


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(..., heads, tokens, head_dim) each -> attended values and the logits of the weights."""
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        logits = logits + mask
    return logits.softmax(-1).to(v.dtype) @ v, logits


def encode_patches(tower: VisionTower, pixels: Tensor) -> Tensor:
    """What `VisionTower.forward` computes."""
    x = tower.pre_norm(tower.embedding(pixels))
    for block in tower.blocks:
        q, k, v = (t.transpose(1, 2) for t in block.qkv(block.norm1(x)))  # type: ignore[operator]
        x = x + block.out(attend(q, k, v)[0].transpose(1, 2).flatten(2))  # type: ignore[operator]
        x = x + block.fc2(block.act(block.fc1(block.norm2(x))))  # type: ignore[operator]
    return F.normalize(tower.post_norm(x).float(), dim=-1)


def resample(resampler: Resampler, features: Tensor) -> tuple[Tensor, Tensor]:
    """What `Resampler.forward` computes, and its attention logits (images, heads, image tokens, sources)."""
    latents = resampler.latent_query.expand(features.shape[0], -1, -1)
    source = torch.cat([resampler.dense(features), latents.to(features.dtype)], dim=1)
    q = split_heads(resampler.q_proj(latents), resampler.heads).transpose(1, 2)
    k = split_heads(resampler.k_proj(source), resampler.heads).transpose(1, 2)
    v = split_heads(resampler.v_proj(source), resampler.heads).transpose(1, 2)
    attended, logits = attend(q, k, v)
    return resampler.out_proj(attended.transpose(1, 2).flatten(2)), logits


@dataclass(frozen=True, slots=True)
class Decoded:
    """Hidden states before the head, those after each tapped layer, and attention logits of each tapped head."""

    hidden: Tensor
    layers: dict[int, Tensor]
    heads: dict[tuple[int, int], Tensor]


def decode(
    decoder: Decoder, embeds: Tensor, index: Tensor, layers: Iterable[int] = (), heads: Iterable[tuple[int, int]] = ()
) -> Decoded:
    """What `Decoder.forward` computes on causal rows (rows, tokens, width), padded on the right."""
    tokens = embeds.shape[1]
    mask = torch.full((tokens, tokens), -1e4, dtype=torch.bfloat16, device=embeds.device).triu(1)
    tapped, pointed = {}, {}
    x = decoder.embed(embeds, index)
    for layer, block in enumerate(decoder.blocks):
        q, k, v = (t.transpose(1, 2) for t in block.qkv(block.attn_norm(x)))  # type: ignore[operator]
        attended, logits = attend(q, k, v, mask)
        pointed.update({(at, head): logits[:, head] for at, head in heads if at == layer})
        x = x + block.out(block.inner_norm(attended.transpose(1, 2).flatten(2)))  # type: ignore[operator]
        x = x + block.fc2(block.mid_norm(block.act(block.fc1(block.ffn_norm(x)))))  # type: ignore[operator]
        if layer in layers:
            tapped[layer] = x
    return Decoded(decoder.norm(x), tapped, pointed)
