"""A head start for the decoder: heads of the first layer that look one to six tokens back from the first step on.

To read on, the decoder must find in the picture the characters it has just written. So each token first has to know
those before it. Positions are sinusoids, so a query turned by `n` positions meets the key of the token `n` back. The
dimensions these heads use are kept free of content: in word embeddings at the start, in image tokens for good.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from kosmos_eval.kosmos.decoder import Decoder
from kosmos_eval.mini.tokenizer import PAD

HEADS_BACK = 6
_SHARPNESS = 4.0


def reserved(width: int, heads: int) -> Tensor:
    """The dimensions of the fastest sinusoids, as many as a head has: sines first, then cosines."""
    pairs = width // heads // 2
    return torch.cat([torch.arange(pairs), torch.arange(pairs) + width // 2])


def free_mask(width: int, heads: int) -> Tensor:
    """One where content may be, zero in the reserved dimensions."""
    mask = torch.ones(width)
    mask[reserved(width, heads)] = 0
    return mask


@torch.no_grad()
def init_decoder(decoder: Decoder) -> None:
    """Unit-scale weights; word embeddings of the size of positions; the heads that look back."""
    width, heads, depth = decoder.config.embed_dim, decoder.config.attention_heads, decoder.config.layers
    for module in decoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.8 / math.sqrt(module.in_features))
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    for block in decoder.blocks:
        block.fc2.weight.mul_(1 / math.sqrt(depth))  # type: ignore[operator, union-attr]
    nn.init.normal_(decoder.embed_tokens.weight, std=1 / math.sqrt(width))
    decoder.embed_tokens.weight.mul_(free_mask(width, heads))
    decoder.embed_tokens.weight[PAD] = 0
    weight = decoder.blocks[0].qkv.proj.weight  # type: ignore[union-attr]
    for head in range(min(HEADS_BACK, heads - 1)):
        _look_back(weight, head, head + 1, width, heads)  # type: ignore[arg-type]


def _look_back(weight: Tensor, head: int, distance: int, width: int, heads: int) -> None:
    """Turns the query of one head back by a distance."""
    size = width // heads
    places = reserved(width, heads)
    angle = distance * torch.exp(torch.arange(size // 2) * -(math.log(10000) / (width // 2 - 1)))
    cosine, sine = torch.diag(angle.cos()), torch.diag(angle.sin())
    turn = torch.cat([torch.cat([cosine, -sine], 1), torch.cat([sine, cosine], 1)], 0)
    rows = torch.arange(head * size, (head + 1) * size)
    weight[rows] = 0
    weight[width + rows] = 0
    weight[rows[:, None], places[None, :]] = _SHARPNESS * turn.to(weight)
    weight[width + rows, places] = _SHARPNESS
