"""The decoder: a sub-LayerNorm transformer (Magneto) with scaled, tied embeddings and fairseq's sinusoidal positions.

It runs on tokens in any leading shape, packed `(tokens, width)` or padded `(rows, tokens, width)`. Which keys a token
attends to is not its business: the caller passes an `Attention`, be it a plain causal one or one that owns a cache.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kosmos_eval.kosmos.config import TextConfig
from kosmos_eval.kosmos.layers import FusedQKV, activation, embedding

POSITION_OFFSET = 2
"""Position of the first token: fairseq counts from `padding_idx + 1`, and the padding id is 1."""


class Attention(Protocol):
    """Where a layer's queries, keys and values meet."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Three of (..., heads, head_dim), unscaled, to the attended values of the same shape."""


class CausalAttention:
    """Every token attends to itself and to those before it in its row: the reference, without any cache."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(rows, tokens, heads, head_dim) or (tokens, heads, head_dim)."""
        q, k, v = (t.transpose(-3, -2) for t in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(-3, -2)


def sinusoids(positions: int, width: int, padding_idx: int) -> Tensor:
    """fairseq's table (positions, width), sines then cosines; the padding row is zero."""
    half = width // 2
    frequency = torch.exp(torch.arange(half, dtype=torch.int64).float() * -(math.log(10000) / (half - 1)))
    angle = torch.arange(positions, dtype=torch.int64).float().unsqueeze(1) * frequency.unsqueeze(0)
    table = torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)
    if width % 2:
        table = torch.cat([table, torch.zeros(positions, 1)], dim=1)
    table[padding_idx] = 0
    return table


class DecoderBlock(nn.Module):
    """Pre-LayerNorm attention and FFN, each with a second LayerNorm before its output projection (sub-LN)."""

    def __init__(self, config: TextConfig, layer: int) -> None:
        super().__init__()
        width, eps = config.embed_dim, config.layer_norm_eps
        self.layer = layer
        self.attn_norm = nn.LayerNorm(width, eps=eps)
        self.qkv = FusedQKV(width, config.attention_heads)
        self.inner_norm = nn.LayerNorm(width, eps=eps)
        self.out = nn.Linear(width, width)
        self.ffn_norm = nn.LayerNorm(width, eps=eps)
        self.fc1 = nn.Linear(width, config.ffn_dim)
        self.mid_norm = nn.LayerNorm(config.ffn_dim, eps=eps)
        self.fc2 = nn.Linear(config.ffn_dim, width)
        self.act = activation(config.activation_function)

    def forward(self, x: Tensor, attention: Attention) -> Tensor:
        q, k, v = self.qkv(self.attn_norm(x))
        x = x + self.out(self.inner_norm(attention(self.layer, q, k, v).flatten(-2)))
        return x + self.fc2(self.mid_norm(self.act(self.fc1(self.ffn_norm(x)))))


class Decoder(nn.Module):
    """Embeddings, blocks, final LayerNorm and the tied output head."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = embedding(config.vocab_size, config.embed_dim, config.pad_token_id)
        self.embed_scale = math.sqrt(config.embed_dim) if config.scale_embedding else 1.0
        self.blocks = nn.ModuleList(DecoderBlock(config, layer) for layer in range(config.layers))
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)
        rows = config.max_position_embeddings + POSITION_OFFSET
        table = torch.empty(rows, config.embed_dim)
        if not table.is_meta:
            table = sinusoids(rows, config.embed_dim, config.pad_token_id)
        self.register_buffer("positions", table, persistent=False)
        self.positions: Tensor

    def embed(self, embeds: Tensor, index: Tensor) -> Tensor:
        """Scales embeddings of words and image tokens alike and adds positions.

        embeds: (..., width), unscaled; index: (...), each token's place in its own sequence, counted from 0.
        """
        return embeds * self.embed_scale + self.positions[index + POSITION_OFFSET]

    def forward(self, embeds: Tensor, index: Tensor, attention: Attention) -> Tensor:
        """Unscaled embeddings (..., width) at places (...) -> hidden states (..., width), before the head."""
        x = self.embed(embeds, index)
        for block in self.blocks:
            x = block(x, attention)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., width) -> (..., vocabulary), by the tied embedding matrix."""
        return F.linear(hidden, self.embed_tokens.weight)
