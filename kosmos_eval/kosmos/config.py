"""Sizes of a Kosmos-2 network, read from a Hugging Face `config.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from kosmos_eval.errors import CheckpointError

ACTIVATIONS = ("gelu", "quick_gelu")


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The decoder. Names and defaults are Hugging Face's (`Kosmos2TextConfig`)."""

    vocab_size: int = 65037
    max_position_embeddings: int = 2048
    embed_dim: int = 2048
    layers: int = 24
    ffn_dim: int = 8192
    attention_heads: int = 32
    activation_function: str = "gelu"
    layer_norm_eps: float = 1e-5
    scale_embedding: bool = True
    bos_token_id: int = 0
    pad_token_id: int = 1
    eos_token_id: int = 2

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.attention_heads


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The CLIP vision tower. Names and defaults are Hugging Face's (`Kosmos2VisionConfig`)."""

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 14
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5

    @property
    def num_patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True, slots=True)
class KosmosConfig:
    """The whole network: decoder, vision tower and the number of image tokens between them."""

    text: TextConfig = TextConfig()
    vision: VisionConfig = VisionConfig()
    latent_query_num: int = 64

    def to_hf(self) -> dict[str, Any]:
        """The `config.json` that Hugging Face's `Kosmos2Config` reads."""
        return {
            "architectures": ["Kosmos2ForConditionalGeneration"],
            "model_type": "kosmos-2",
            "latent_query_num": self.latent_query_num,
            "tie_word_embeddings": True,
            "text_config": {"model_type": "kosmos_2_text_model", **asdict(self.text)},
            "vision_config": {"model_type": "kosmos_2_vision_model", **asdict(self.vision)},
        }


_C = TypeVar("_C", TextConfig, VisionConfig)


def _section(cls: type[_C], raw: Any, name: str, path: Path) -> _C:
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path}: field {name!r} must be an object, found {type(raw).__name__}")
    values: dict[str, Any] = {}
    for spec in fields(cls):
        value = raw.get(spec.name, spec.default)
        expected = type(spec.default)
        if expected is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise CheckpointError(f"{path}: field {name}.{spec.name} must be {expected.__name__}, found {value!r}")
        values[spec.name] = value
    return cls(**values)


def _check(config: KosmosConfig, path: Path) -> None:
    text, vision = config.text, config.vision
    positive = {
        "text_config.vocab_size": text.vocab_size, "text_config.embed_dim": text.embed_dim,
        "text_config.layers": text.layers, "text_config.attention_heads": text.attention_heads,
        "vision_config.hidden_size": vision.hidden_size, "vision_config.patch_size": vision.patch_size,
        "vision_config.num_attention_heads": vision.num_attention_heads, "latent_query_num": config.latent_query_num,
    }  # fmt: skip
    for name, value in positive.items():
        if value <= 0:
            raise CheckpointError(f"{path}: field {name} must be positive, found {value}")
    if text.embed_dim % text.attention_heads or vision.hidden_size % vision.num_attention_heads:
        raise CheckpointError(f"{path}: the width must be a multiple of the number of attention heads")
    for name, act in (("text_config.activation_function", text.activation_function),
                      ("vision_config.hidden_act", vision.hidden_act)):  # fmt: skip
        if act not in ACTIVATIONS:
            raise CheckpointError(f"{path}: field {name} is {act!r}; this network knows {', '.join(ACTIVATIONS)}")


def read_config(path: Path) -> KosmosConfig:
    """Reads a `config.json` in Hugging Face's Kosmos-2 format.

    Raises CheckpointError if the file is missing, is not JSON or describes another architecture.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: a Kosmos-2 checkpoint in Hugging Face format has one") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error})") from None
    found = raw.get("model_type") if isinstance(raw, dict) else None
    if found != "kosmos-2":
        raise CheckpointError(f"{path}: model_type is {found!r}; only 'kosmos-2' checkpoints can be run")
    text = raw.get("text_config")
    if isinstance(text, dict) and text.get("add_cross_attention"):
        raise CheckpointError(f"{path}: text_config.add_cross_attention is set; KOSMOS-2 has no cross-attention layers")
    latents = raw.get("latent_query_num", 64)
    if not isinstance(latents, int) or isinstance(latents, bool):
        raise CheckpointError(f"{path}: field latent_query_num must be int, found {latents!r}")
    config = KosmosConfig(
        text=_section(TextConfig, raw.get("text_config") or {}, "text_config", path),
        vision=_section(VisionConfig, raw.get("vision_config") or {}, "vision_config", path),
        latent_query_num=latents,
    )
    _check(config, path)
    return config
