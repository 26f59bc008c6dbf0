"""The whole network: pictures to image tokens, image tokens and words to logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kosmos_eval.kosmos.config import KosmosConfig
from kosmos_eval.kosmos.decoder import Attention, CausalAttention, Decoder
from kosmos_eval.kosmos.resampler import Resampler
from kosmos_eval.kosmos.vision import VisionTower


class Kosmos(nn.Module):
    """KOSMOS-2 (arXiv 2306.14824) as Hugging Face's `Kosmos2ForConditionalGeneration` computes it."""

    def __init__(self, config: KosmosConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionTower(config.vision)
        self.resampler = Resampler(config)
        self.decoder = Decoder(config.text)

    @property
    def device(self) -> torch.device:
        return self.decoder.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.embed_tokens.weight.dtype

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(images, channels, height, width) -> image tokens (images, latent_query_num, text width), unscaled."""
        return self.resampler(self.vision(pixels))

    def embed_inputs(self, ids: Tensor, image_mask: Tensor, image_embeds: Tensor | None) -> Tensor:
        """Word embeddings (..., width) with image tokens in the places of the mask, in row-major order, unscaled."""
        embeds = self.decoder.embed_tokens(ids)
        if image_embeds is None:
            return embeds
        flat = image_embeds.reshape(-1, image_embeds.shape[-1]).to(embeds.dtype)
        return embeds.masked_scatter(image_mask.unsqueeze(-1), flat)

    def forward(
        self, ids: Tensor, image_mask: Tensor, pixels: Tensor | None = None, attention: Attention | None = None
    ) -> Tensor:
        """Logits (rows, tokens, vocabulary) of unpadded rows; the reference path, without cache.

        ids, image_mask: (rows, tokens); pixels: (images in row-major order, channels, height, width).
        """
        image_embeds = self.encode_images(pixels) if pixels is not None and len(pixels) else None
        index = torch.arange(ids.shape[-1], device=ids.device).expand(ids.shape)
        embeds = self.embed_inputs(ids, image_mask, image_embeds)
        return self.decoder.logits(self.decoder(embeds, index, attention or CausalAttention()))
