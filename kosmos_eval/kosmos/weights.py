"""Loads and saves Kosmos-2 checkpoints in Hugging Face's safetensors format. Pickles are never read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from kosmos_eval.disk import storing, write_json
from kosmos_eval.errors import CheckpointError, StoreError
from kosmos_eval.kosmos.config import KosmosConfig, read_config
from kosmos_eval.kosmos.model import Kosmos

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

# Our name -> Hugging Face's. A list of three names is fused in this order.
_VISION_LAYER = {
    "norm1": "layer_norm1", "norm2": "layer_norm2", "fc1": "mlp.fc1", "fc2": "mlp.fc2", "out": "self_attn.out_proj",
    "qkv.proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
}  # fmt: skip
_TEXT_LAYER = {
    "attn_norm": "self_attn_layer_norm", "inner_norm": "self_attn.inner_attn_ln", "out": "self_attn.out_proj",
    "ffn_norm": "final_layer_norm", "fc1": "ffn.fc1", "mid_norm": "ffn.ffn_layernorm", "fc2": "ffn.fc2",
    "qkv.proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
}  # fmt: skip
_WHOLE = {
    "vision.embedding.class_embedding": "vision_model.model.embeddings.class_embedding",
    "vision.embedding.patch.weight": "vision_model.model.embeddings.patch_embedding.weight",
    "vision.embedding.position.weight": "vision_model.model.embeddings.position_embedding.weight",
    "resampler.latent_query": "image_to_text_projection.latent_query",
    "decoder.embed_tokens.weight": "text_model.model.embed_tokens.weight",
}
_MODULES = {
    "vision.pre_norm": "vision_model.model.pre_layrnorm",  # the misspelling is CLIP's
    "vision.post_norm": "vision_model.model.post_layernorm",
    "resampler.dense": "image_to_text_projection.dense",
    "resampler.q_proj": "image_to_text_projection.x_attn.q_proj",
    "resampler.k_proj": "image_to_text_projection.x_attn.k_proj",
    "resampler.v_proj": "image_to_text_projection.x_attn.v_proj",
    "resampler.out_proj": "image_to_text_projection.x_attn.out_proj",
    "decoder.norm": "text_model.model.layer_norm",
}
_IGNORED = {
    "text_model.lm_head.weight",  # tied to the embeddings
    "text_model.model.embed_positions.weights",  # the sinusoids, which older releases store
    "vision_model.model.embeddings.position_ids",
}
_BLOCK = re.compile(r"(vision|decoder)\.blocks\.(\d+)\.(.+)\.(weight|bias)")


def hf_names(name: str) -> tuple[str, ...]:
    """The Hugging Face tensor, or the three fused ones, behind one of our parameters."""
    if name in _WHOLE:
        return (_WHOLE[name],)
    if block := _BLOCK.fullmatch(name):
        tower, layer, part, kind = block.groups()
        stem = "vision_model.model.encoder.layers" if tower == "vision" else "text_model.model.layers"
        theirs = (_VISION_LAYER if tower == "vision" else _TEXT_LAYER)[part]
        parts = theirs if isinstance(theirs, tuple) else (theirs,)
        return tuple(f"{stem}.{layer}.{p}.{kind}" for p in parts)
    module, _, kind = name.rpartition(".")
    return (f"{_MODULES[module]}.{kind}",)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, one or sharded. Raises CheckpointError if there are none."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / INDEX
    if not index.is_file():
        pickled = sorted(p.name for p in folder.glob("*.bin"))
        hint = f"; {', '.join(pickled)} is a pickle, which is never read: convert it" if pickled else ""
        raise CheckpointError(f"{folder}: no {WEIGHTS} and no {INDEX}{hint}")
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index}: no readable weight_map ({error})") from None
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise CheckpointError(f"{index}: shard {name!r} is not a safetensors file name in this folder")
        if not (folder / name).is_file():
            raise CheckpointError(f"{index}: shard {name} is missing")
    return [folder / name for name in names]


class _Tensors:
    """All tensors of a checkpoint by name, read one at a time."""

    def __init__(self, files: list[Path]) -> None:
        from safetensors import SafetensorError, safe_open

        self._home = {}
        for file in files:
            try:
                handle = safe_open(file, framework="pt")
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"{file}: not a readable safetensors file ({error})") from None
            self._home.update(dict.fromkeys(handle.keys(), handle))

    def __contains__(self, name: str) -> bool:
        return name in self._home

    def names(self) -> set[str]:
        return set(self._home)

    def __getitem__(self, name: str) -> Tensor:
        return self._home[name].get_tensor(name)


def load_network(folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Kosmos:
    """Builds the network of a checkpoint folder and fills it, tensor by tensor, in the wanted dtype.

    Raises CheckpointError naming every missing tensor, or the first one of a wrong shape.
    """
    config = read_config(folder / "config.json")
    tensors = _Tensors(weight_files(folder))
    with torch.device("meta"):
        network = Kosmos(config)
    wanted = {name: hf_names(name) for name, _ in network.named_parameters()}
    missing = [theirs for names in wanted.values() for theirs in names if theirs not in tensors]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise CheckpointError(f"{folder}: the checkpoint lacks {', '.join(missing[:3])}{more}")
    if extra := tensors.names() - {theirs for names in wanted.values() for theirs in names} - _IGNORED:
        raise CheckpointError(f"{folder}: config.json has no place for {min(extra)}: is it this checkpoint's?")
    state: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        tensor = torch.cat([tensors[t] for t in wanted[name]]) if len(wanted[name]) > 1 else tensors[wanted[name][0]]
        if tensor.shape != parameter.shape:
            expected, found = tuple(parameter.shape), tuple(tensor.shape)
            raise CheckpointError(f"{folder}: {wanted[name][0]} has shape {found}, config.json asks for {expected}")
        state[name] = tensor.to(device=device, dtype=dtype)
    return filled(network, state, config, device, dtype)


def filled(
    network: Kosmos, state: dict[str, Tensor], config: KosmosConfig, device: str, dtype: torch.dtype
) -> Kosmos:
    """A network built without memory ("meta"), given its parameters by name and its table of positions."""
    from kosmos_eval.kosmos.decoder import POSITION_OFFSET, sinusoids

    network.load_state_dict(state, assign=True)
    text = config.text
    table = sinusoids(text.max_position_embeddings + POSITION_OFFSET, text.embed_dim, text.pad_token_id)
    network.decoder.positions = table.to(device=device, dtype=dtype)
    return network.eval().requires_grad_(False)


def hf_tensors(network: Kosmos) -> Iterator[tuple[str, Tensor]]:
    """A network's weights under Hugging Face's names: views of its own, no copies."""
    for name, parameter in network.named_parameters():
        names = hf_names(name)
        yield from zip(names, parameter.detach().chunk(len(names)), strict=True)


def save_network(network: Kosmos, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Writes `config.json` and `model.safetensors` as Hugging Face's `Kosmos2ForConditionalGeneration` loads them.

    Raises StoreError where they cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {name: tensor.to(device="cpu", dtype=dtype).contiguous() for name, tensor in hf_tensors(network)}
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:  # its way to tell of a full disk
            raise StoreError(f"{folder / WEIGHTS}: cannot be written ({error}); make room, or choose another") from None
    write_json(folder / "config.json", {**network.config.to_hf(), "dtype": str(dtype).removeprefix("torch.")})


def fingerprint(folder: Path) -> str:
    """A hash of everything that decides what the model says: weights, config, tokenizer, preprocessing."""
    digest = hashlib.blake2b(digest_size=16)
    names = ("config.json", "tokenizer.json", "preprocessor_config.json", "processor_config.json")
    extras = [folder / name for name in names]
    for file in [*weight_files(folder), *(f for f in extras if f.is_file())]:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "blake2b").digest())
    return digest.hexdigest()
