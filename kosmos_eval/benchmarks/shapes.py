"""Networks to measure: random weights of a shape, and Hugging Face's model over the very same tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kosmos_eval.errors import UsageError, nearest
from kosmos_eval.kosmos.config import KosmosConfig, TextConfig, VisionConfig
from kosmos_eval.kosmos.model import Kosmos
from kosmos_eval.kosmos.weights import filled, hf_tensors

SHAPES = {
    "mini": KosmosConfig(
        TextConfig(
            vocab_size=1224, max_position_embeddings=4096, embed_dim=256, layers=5, ffn_dim=1024, attention_heads=8
        ),
        VisionConfig(hidden_size=192, intermediate_size=768, num_hidden_layers=4, num_attention_heads=6),
    ),
    "small": KosmosConfig(
        TextConfig(embed_dim=768, layers=12, ffn_dim=3072, attention_heads=12),
        VisionConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12),
    ),
    "full": KosmosConfig(),
}
"""kosmos-mini, a network between, and the released KOSMOS-2."""

SPREAD = 0.06
"""Standard deviation of random matrices. Three times Hugging Face's: with its own, a tied head repeats the last token
whatever came before, and agreement says nothing. Embeddings and queries of the resampler keep Hugging Face's."""


def random_network(shape: str, seed: int, device: str, dtype: torch.dtype) -> Kosmos:
    """A network of one of the shapes with random weights. Raises UsageError for an unknown shape."""
    if shape not in SHAPES:
        raise UsageError(f"no shape {shape!r}{nearest(shape, tuple(SHAPES))}")
    with torch.device("meta"):
        network = Kosmos(SHAPES[shape])
    generator = torch.Generator().manual_seed(seed)
    norms = {name for name, module in network.named_modules() if isinstance(module, nn.LayerNorm)}
    state: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        if name.endswith(".bias"):
            value = torch.zeros(parameter.shape)
        elif name.removesuffix(".weight") in norms:
            value = torch.ones(parameter.shape)
        else:
            small = name.endswith(("embed_tokens.weight", "latent_query"))
            value = torch.empty(parameter.shape).normal_(std=SPREAD / 3 if small else SPREAD, generator=generator)
        state[name] = value.to(device=device, dtype=dtype)
    return filled(network, state, SHAPES[shape], device, dtype)


def hugging_face(network: Kosmos) -> Any:
    """Hugging Face's model, whose weights are views of the network's: both fit in memory together."""
    from transformers import Kosmos2Config, Kosmos2ForConditionalGeneration

    with torch.device("meta"):
        hf = Kosmos2ForConditionalGeneration(Kosmos2Config(**network.config.to_hf()))
    hf.load_state_dict(dict(hf_tensors(network)), strict=False, assign=True)
    text, vision = hf.text_model.model, hf.vision_model.model.embeddings
    hf.text_model.lm_head.weight = text.embed_tokens.weight
    vision.position_ids = torch.arange(vision.num_positions, device=network.device)[None]
    text.embed_positions.weights = network.decoder.positions
    left = [name for name, tensor in [*hf.named_parameters(), *hf.named_buffers()] if tensor.is_meta]
    if left:
        raise RuntimeError(f"this version of transformers has weights the network lacks: {', '.join(left)}")
    return hf.eval()
