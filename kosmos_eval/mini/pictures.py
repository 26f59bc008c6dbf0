"""Labelled pictures for the dense stage: pages, scenes, photographs, memes and panels, all generated."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from kosmos_eval.data.mini import hateful_memes, raven_iq, vizwiz, vqav2
from kosmos_eval.data.mini.matrices import COLOURS, SHAPES, SIZES, Panel
from kosmos_eval.data.mini.scenes import SceneObject
from kosmos_eval.kosmos.images import CLIP_MEAN, CLIP_STD
from kosmos_eval.mini import dense_labels as labelling
from kosmos_eval.mini.dense_labels import Labels
from kosmos_eval.mini.pages import full_page

SIZE = 224
FRESH = 1000
"""Training items below this index are the demonstrations of the written suite."""
_MANY = 10**8
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class DenseExample:
    """A picture at the network's size, and what it holds where."""

    pixels: Pixels
    labels: Labels


def shrink(image: Image.Image) -> Pixels:
    """What CLIP's preprocessing makes of a picture before it is normalised: (224, 224, 3)."""
    if image.size != (SIZE, SIZE):
        image = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(image.convert("RGB"))


def normalise(pictures: Sequence[Pixels]) -> Tensor:
    """(n, 3, 224, 224), as the network takes it."""
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(255)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    return pixels.sub_(mean).div_(std)


def fresh_index(rng: random.Random) -> int:
    """An index of the unbounded train split that no demonstration has."""
    return FRESH + rng.randrange(_MANY)


def page(rng: random.Random, sentences: Sequence[str], official: float) -> DenseExample:
    """Text, black on white, sometimes paler or dimmer."""
    rendered, labels = full_page(rng, sentences, official), Labels()
    labelling.label_text(labels, rendered.chars, rendered.image.width)
    pixels = np.asarray(rendered.image.convert("L").resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    if rng.random() < 0.15:
        dark, light = rng.uniform(0, 70), rng.uniform(200, 255)
        pixels = (dark + pixels.astype(np.float32) * ((light - dark) / 255)).astype(np.uint8)
    return DenseExample(np.repeat(pixels[:, :, None], 3, axis=2), labels)


def scene(rng: random.Random) -> DenseExample:
    item, labels = vqav2.sample("train", fresh_index(rng)), Labels()
    labelling.label_objects(labels, item.objects)
    return DenseExample(shrink(item.image), labels)


def photograph(rng: random.Random) -> DenseExample:
    item, labels = vizwiz.sample("train", fresh_index(rng)), Labels()
    labelling.label_objects(labels, item.objects)
    if not item.answerable:
        labelling.label_kind(labels, "unreadable")
    return DenseExample(shrink(item.image), labels)


def meme(rng: random.Random) -> DenseExample:
    item, labels = hateful_memes.sample("train", fresh_index(rng)), Labels()
    labelling.label_text(labels, item.chars, item.image.width)
    labelling.label_kind(labels, item.kind)
    return DenseExample(shrink(item.image), labels)


def panel_objects(panel: Panel) -> list[SceneObject]:
    """The shapes of a matrix panel, where `draw_panel` puts them, in a picture of 224 pixels."""
    shape, size, colour, count = panel
    middle = raven_iq.PANEL_SIZE // 2
    seats = {0: ((middle, middle),), 1: ((28, middle), (84, middle))}.get(count, raven_iq._SEATS[: count + 1])
    scale = SIZE / raven_iq.PANEL_SIZE
    radius = raven_iq._RADII[size] * scale
    return [SceneObject(SHAPES[shape], COLOURS[colour], SIZES[size], x * scale, y * scale, radius) for x, y in seats]


def matrix_panel(rng: random.Random) -> DenseExample:
    panel, labels = (rng.randrange(5), rng.randrange(4), rng.randrange(5), rng.randrange(4)), Labels()
    labelling.label_panel(labels, panel, panel_objects(panel))
    return DenseExample(shrink(raven_iq.draw_panel(panel)), labels)


PICTURES: dict[str, Callable[[random.Random], DenseExample]] = {
    "scene": scene, "photograph": photograph, "meme": meme, "panel": matrix_panel,
}  # fmt: skip


def dense_batch(
    rng: random.Random, sentences: Sequence[str], mix: dict[str, int], official: float
) -> list[DenseExample]:
    """As many pictures of each sort as the mix says; `page` is text."""
    batch = [page(rng, sentences, official) for _ in range(mix.get("page", 0))]
    for name, make in PICTURES.items():
        batch += [make(rng) for _ in range(mix.get(name, 0))]
    return batch
