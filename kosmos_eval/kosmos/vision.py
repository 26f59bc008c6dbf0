"""The vision tower: CLIP's ViT, every token of its last layer normalised (KOSMOS-2 keeps the class token)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kosmos_eval.kosmos.config import VisionConfig
from kosmos_eval.kosmos.layers import FusedQKV, activation, embedding


class VisionEmbedding(nn.Module):
    """Pixels to patch embeddings, a class token before them, learned positions added."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(config.hidden_size))
        self.patch = nn.Conv2d(
            config.num_channels, config.hidden_size, kernel_size=config.patch_size, stride=config.patch_size, bias=False
        )
        self.position = embedding(config.num_patches + 1, config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """(images, channels, height, width) -> (images, 1 + patches, hidden)."""
        weight, size = self.patch.weight, self.patch.kernel_size[0]
        # Patches do not overlap, so the convolution is one product. cuDNN's would round float32 to TF32 on a GPU.
        squares = pixels.to(weight.dtype).unfold(2, size, size).unfold(3, size, size).permute(0, 2, 3, 1, 4, 5)
        patches = F.linear(squares.flatten(3).flatten(1, 2), weight.flatten(1))
        class_token = self.class_embedding.expand(pixels.shape[0], 1, -1)
        return torch.cat([class_token, patches], dim=1) + self.position.weight


class VisionBlock(nn.Module):
    """One pre-LayerNorm transformer layer without a mask."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.qkv = FusedQKV(width, config.num_attention_heads)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.fc1 = nn.Linear(width, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, width)
        self.act = activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.transpose(1, 2) for t in self.qkv(self.norm1(x)))
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(attended)
        return x + self.fc2(self.act(self.fc1(self.norm2(x))))


class VisionTower(nn.Module):
    """CLIP ViT; `post_norm` acts on all tokens and each is then scaled to length one (XConnector's input)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embedding = VisionEmbedding(config)
        self.pre_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.num_hidden_layers))
        self.post_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        """(images, channels, height, width) -> unit vectors (images, 1 + patches, hidden)."""
        x = self.pre_norm(self.embedding(pixels))
        for block in self.blocks:
            x = block(x)
        return F.normalize(self.post_norm(x), dim=-1)
