"""The resampler: a fixed number of learned queries reads the vision tower's tokens and becomes the image tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kosmos_eval.kosmos.config import KosmosConfig
from kosmos_eval.kosmos.layers import split_heads


class Resampler(nn.Module):
    """One cross-attention without residual, FFN or inner LayerNorm (unilm's XConnector).

    Keys and values are the projected picture *and* the queries themselves.
    """

    def __init__(self, config: KosmosConfig) -> None:
        super().__init__()
        width = config.text.embed_dim
        self.heads = config.text.attention_heads
        self.dense = nn.Linear(config.vision.hidden_size, width)
        self.latent_query = nn.Parameter(torch.randn(config.latent_query_num, width))
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """(images, 1 + patches, vision width) -> (images, image tokens, text width)."""
        latents = self.latent_query.expand(features.shape[0], -1, -1)
        source = torch.cat([self.dense(features), latents], dim=1)
        q = split_heads(self.q_proj(latents), self.heads).transpose(1, 2)
        k = split_heads(self.k_proj(source), self.heads).transpose(1, 2)
        v = split_heads(self.v_proj(source), self.heads).transpose(1, 2)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out_proj(attended)
