"""A head start for the resampler: image token `i` reads patches `4i..4i+3` from the first step on.

Latent queries are exchangeable, so a resampler left alone sits on a plateau until their symmetry breaks (90 s of the
first study's five minutes; with the default initialisation, for good). Here it is broken by construction: keys are
fitted to tell a patch's position code (that of `vision_init`) from its features, and each head of a latent asks for
one code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kosmos_eval.kosmos.resampler import Resampler
from kosmos_eval.mini.dense_labels import GRID, STRIP
from kosmos_eval.mini.fast import encode_patches, resample
from kosmos_eval.mini.pictures import dense_batch, normalise
from kosmos_eval.mini.vision_init import CODE, axis_code
from kosmos_eval.mini.workbench import Workbench, step_rng

_MIX = {"page": 6, "scene": 3, "photograph": 3, "meme": 3, "panel": 3}
_BATCHES, _RIDGE, _SHARPNESS = 12, 1e-3, 20.0


@torch.no_grad()
def fitting_features(bench: Workbench, sentences: Sequence[str]) -> Tensor:
    """Patch features (pictures, 256, width) of some training pictures."""
    found = []
    for number in range(_BATCHES):
        batch = dense_batch(step_rng(bench.recipe.seed, "fit", number), sentences, _MIX, bench.recipe.official_look)
        found.append(encode_patches(bench.network.vision, normalise([e.pixels for e in batch]).to(bench.device))[:, 1:])
    return torch.cat(found)


def _fit(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Ridge regression of (n, places, width) on (places, code): weight (code, width) and bias (code)."""
    flat = features.flatten(0, 1).double()
    wanted = targets.double().repeat(features.shape[0], 1)
    mean, centre = flat.mean(0), wanted.mean(0)
    x, y = flat - mean, wanted - centre
    gram = x.T @ x / len(x)
    gram += _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    weight = torch.linalg.solve(gram, x.T @ y / len(x)).T
    return weight.float(), (centre - weight @ mean).float()


@torch.no_grad()
def init_resampler(bench: Workbench, sentences: Sequence[str]) -> float:
    """Sets all weights of the resampler; returns the share of attention that falls on the wanted patches."""
    resampler: Resampler = bench.network.resampler
    width, heads = resampler.dense.out_features, resampler.heads
    size = width // heads
    features = fitting_features(bench, sentences)
    nn.init.orthogonal_(resampler.dense.weight, gain=math.sqrt(features.shape[-1]))
    nn.init.zeros_(resampler.dense.bias)
    for module in (resampler.q_proj, resampler.k_proj, resampler.v_proj, resampler.out_proj):
        nn.init.orthogonal_(module.weight)
        nn.init.zeros_(module.bias)
    axis = axis_code(torch.arange(GRID, dtype=torch.float32))
    codes = torch.cat([axis.repeat(GRID, 1), axis.repeat_interleave(GRID, 0)], 1).to(features.device) / math.sqrt(CODE)
    weight, bias = _fit(resampler.dense(features), codes)
    for head in range(heads):
        rows = slice(head * size, head * size + CODE)
        resampler.k_proj.weight[rows], resampler.k_proj.bias[rows] = weight, bias
        wanted = torch.arange(len(resampler.latent_query), device=features.device) * STRIP + head % STRIP
        resampler.latent_query[:, rows] = codes[wanted]
    resampler.q_proj.weight.copy_(torch.eye(width) * _SHARPNESS * math.sqrt(size))
    return wanted_share(bench, features[:8])


@torch.no_grad()
def wanted_share(bench: Workbench, features: Tensor) -> float:
    """The share of each head's attention that falls on the patch it was made to read, on average."""
    resampler = bench.network.resampler
    whole = torch.cat([features.new_zeros(len(features), 1, features.shape[-1]), features], dim=1)
    weights = resample(resampler, whole)[1].softmax(-1)
    head = torch.arange(resampler.heads, device=features.device)[:, None]
    token = torch.arange(len(resampler.latent_query), device=features.device)[None, :]
    return weights[:, head, token, 1 + token * STRIP + head % STRIP].mean().item()
