"""The dense stages: first every patch, then every image token, says what it shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from kosmos_eval.mini.config import DenseStage
from kosmos_eval.mini.decoder_init import free_mask
from kosmos_eval.mini.dense_heads import DenseHeads, DenseLoss
from kosmos_eval.mini.dense_labels import BINS, SLOTS, STRIP, TOKENS, Ints
from kosmos_eval.mini.fast import encode_patches, resample
from kosmos_eval.mini.pictures import DenseExample, dense_batch, normalise
from kosmos_eval.mini.vision_init import keep_positions
from kosmos_eval.mini.workbench import Workbench, set_rate
from kosmos_eval.mini.workers import average_gradients

CLIP_NORM = 1.0


def _stack(arrays: Sequence[Ints], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).to(device)


def read_labels(batch: Sequence[DenseExample], tokens: bool, device: torch.device) -> tuple[list[Tensor], Tensor]:
    """Characters for each reader, and attributes."""
    labels = [example.labels for example in batch]
    if tokens:
        bins = _stack([made.patch_bins.reshape(TOKENS, STRIP * BINS) for made in labels], device)
        chars = [bins, _stack([made.token_chars for made in labels], device)]
        return chars, _stack([made.token_attributes for made in labels], device)
    bins = _stack([made.patch_bins for made in labels], device)
    return [bins, _stack([made.patch_chars for made in labels], device)], _stack(
        [made.patch_attributes for made in labels], device
    )


def _see(bench: Workbench, pixels: Tensor, tokens: bool) -> Tensor:
    """Patches or image tokens, of about unit size whatever the network's scale."""
    features = encode_patches(bench.network.vision, pixels)
    if not tokens:
        return features[:, 1:] * features.shape[-1] ** 0.5
    return unit_tokens(bench, resample(bench.network.resampler, features)[0])


def unit_tokens(bench: Workbench, tokens: Tensor) -> Tensor:
    """Image tokens of unit rms, without the dimensions that are kept for positions."""
    text = bench.network.config.text
    seen = tokens * free_mask(text.embed_dim, text.attention_heads).to(tokens.device)
    return seen / seen.detach().pow(2).mean().sqrt()


def _optimiser(bench: Workbench, heads: nn.Module, stage: DenseStage, tokens: bool) -> torch.optim.Optimizer:
    groups = [{"params": list(bench.network.vision.parameters()), "scale": stage.vision_lr}]
    groups.append({"params": list(heads.parameters())})
    if tokens:
        groups.append({"params": list(bench.network.resampler.parameters())})
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.02, fused=True)


def train_dense(bench: Workbench, name: str, stage: DenseStage, sentences: Sequence[str]) -> None:
    """Runs the `patches` or the `tokens` stage to its end, from where it stopped."""
    tokens = name == "tokens"
    network = bench.network
    width = network.config.text.embed_dim if tokens else network.config.vision.hidden_size
    heads = DenseHeads(width, [STRIP * BINS if tokens else BINS, SLOTS]).to(bench.device)
    optimiser = _optimiser(bench, heads, stage, tokens)
    first, _ = bench.restore(name, heads, optimiser)
    keep_positions(network.vision)
    for step in range(first, stage.schedule.steps):
        batch = dense_batch(bench.stream(name, step), sentences, stage.mix, bench.recipe.official_look)
        set_rate(optimiser, stage.schedule.at(step))
        result = _step(bench, heads, optimiser, batch, tokens, learning=step >= stage.heads_first)
        if step % bench.recipe.log_every == 0:
            bench.log(
                name,
                step,
                loss=result.loss.item(),
                characters=[round(share, 4) for share in result.characters],
                **result.attributes,
            )
        if bench.due():
            bench.save(name, step + 1, heads, optimiser)
    bench.save(name, stage.schedule.steps, heads, optimiser)


def _step(
    bench: Workbench, heads: DenseHeads, optimiser: torch.optim.Optimizer, batch: Sequence[DenseExample], tokens: bool,
    learning: bool,
) -> DenseLoss:  # fmt: skip
    pixels = normalise([e.pixels for e in batch]).to(bench.device)
    chars, attributes = read_labels(batch, tokens, bench.device)
    with bench.mixed_precision():
        with torch.set_grad_enabled(learning):
            seen = _see(bench, pixels, tokens)
        result: DenseLoss = heads(seen, chars, attributes)
    optimiser.zero_grad(set_to_none=True)
    result.loss.backward()
    average_gradients([p for group in optimiser.param_groups for p in group["params"]], bench.workers)
    for group in optimiser.param_groups:
        nn.utils.clip_grad_norm_(group["params"], CLIP_NORM)
    optimiser.step()
    return result
