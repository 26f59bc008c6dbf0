"""Pools of encoded pictures: with vision frozen, a picture is seen once and read many times.

An entry's content depends only on the seed, its place and how often that place was renewed, so a resumed run has the
pools it would have had.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from kosmos_eval.data.mini import hateful_memes, raven_iq, vizwiz, vqav2
from kosmos_eval.data.mini.drawing import draw_scene
from kosmos_eval.data.mini.matrices import Panel
from kosmos_eval.data.mini.scenes import Scene
from kosmos_eval.mini import dense_labels as labelling
from kosmos_eval.mini.dense_labels import Labels, Place
from kosmos_eval.mini.fast import encode_patches, resample
from kosmos_eval.mini.pages import disturbed, render_page, training_opinion
from kosmos_eval.mini.pictures import DenseExample, Pixels, fresh_index, normalise, shrink
from kosmos_eval.mini.sentences import Corpus, Labelled
from kosmos_eval.mini.workbench import Workbench

T = TypeVar("T")
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Page:
    """A rendered text, where its characters stand, and what it says (None where it was disturbed)."""

    text: str
    places: list[Place]
    label: str | None


@dataclass(frozen=True, slots=True)
class Photo:
    """A question on a bad photograph."""

    question: str
    answer: str
    rationale: str


@dataclass(frozen=True, slots=True)
class Meme:
    """A meme's text and where it stands, what is pictured, whether that is nice, and the text's stance to it."""

    text: str
    places: list[Place]
    kind: str
    rationale: str
    nice: bool
    stance: str


Made = tuple[T, Pixels]


@torch.no_grad()
def encode(bench: Workbench, pictures: Sequence[Pixels]) -> Tensor:
    """Image tokens (n, 64, width) in half precision, on the training device."""
    found = []
    for start in range(0, len(pictures), _CHUNK):
        pixels = normalise(pictures[start : start + _CHUNK]).to(bench.device)
        with bench.mixed_precision():
            features = encode_patches(bench.network.vision, pixels)
        found.append(resample(bench.network.resampler, features)[0].half())
    return torch.cat(found)


class Pool(Generic[T]):
    """Places for pictures, renewed in turn."""

    def __init__(self, bench: Workbench, name: str, size: int, make: Callable[[random.Random], Made[T]]) -> None:
        self.bench, self.name, self.size, self.make = bench, name, size, make
        self.renewed = 0
        self.items: list[T] = []
        self.embeds = torch.empty(0)

    def _rng(self, place: int) -> random.Random:
        turn = (self.renewed - place + self.size - 1) // self.size
        return random.Random(f"{self.bench.recipe.seed}:{self.bench.own(self.name)}:{place}:{turn}")

    def fill(self, renewed: int = 0) -> None:
        """Makes all entries as they are after so many renewals."""
        self.renewed = renewed
        made = [self.make(self._rng(place)) for place in range(self.size)]
        self.items = [item for item, _ in made]
        self.embeds = encode(self.bench, [pixels for _, pixels in made])

    def renew(self, count: int) -> None:
        """Replaces the oldest entries."""
        places = [(self.renewed + offset) % self.size for offset in range(count)]
        made = []
        for place in places:
            self.renewed += 1
            made.append(self.make(self._rng(place)))
        for place, (item, _) in zip(places, made, strict=True):
            self.items[place] = item
        self.embeds[places] = encode(self.bench, [pixels for _, pixels in made])

    def draw(self, rng: random.Random, fits: Callable[[T], bool] = lambda item: True) -> tuple[T, Tensor]:
        """An entry that fits, or the last of several that do not."""
        place = rng.randrange(self.size)
        for _ in range(30):
            if fits(self.items[place]):
                break
            place = rng.randrange(self.size)
        return self.items[place], self.embeds[place]


def _page_text(rng: random.Random, corpus: Corpus) -> Labelled:
    kind = rng.random()
    if kind < 0.35 and corpus.phrases:
        return rng.choice(corpus.phrases)
    if kind < 0.7:
        return rng.choice(corpus.sentences)
    opinion = training_opinion(rng)
    return Labelled(opinion.text, "positive" if opinion.positive else "negative")


def labelled_page(rng: random.Random, corpus: Corpus, official: float) -> tuple[Page, DenseExample]:
    """A sentence, a phrase or a mini opinion as a page, a few of them disturbed."""
    while True:
        found = _page_text(rng, corpus)
        text, label = (found.text, found.label) if rng.random() < 0.9 else (disturbed(rng, found.text), None)
        page = render_page(rng, text, official)
        if page is not None:
            break
    labels = Labels()
    labelling.label_text(labels, page.chars, page.image.width)
    pixels = shrink(page.image.convert("L"))
    return Page("".join(c[0] for c in page.chars), labels.places, label), DenseExample(pixels, labels)


def page_maker(corpus: Corpus, official: float) -> Callable[[random.Random], Made[Page]]:
    """Makes pages for a pool."""

    def make(rng: random.Random) -> Made[Page]:
        page, example = labelled_page(rng, corpus, official)
        return page, example.pixels

    return make


def make_scene(rng: random.Random) -> Made[Scene]:
    scene = vqav2.scene_of("train", fresh_index(rng))
    return scene, shrink(draw_scene(scene))


def make_photo(rng: random.Random) -> Made[Photo]:
    item = vizwiz.sample("train", fresh_index(rng))
    return Photo(item.question, item.answer, item.rationale), shrink(item.image)


def make_meme(rng: random.Random) -> Made[Meme]:
    item, labels = hateful_memes.sample("train", fresh_index(rng)), Labels()
    labelling.label_text(labels, item.chars, item.image.width)
    text = "".join(c[0] for c in item.chars)
    return Meme(text, labels.places, item.kind, item.rationale, item.nice, item.stance), shrink(item.image)


class Panels:
    """All 400 panels a matrix can hold, encoded; vision may move on, so they are encoded again in turn."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self._names = [(a, b, c, d) for a in range(5) for b in range(4) for c in range(5) for d in range(4)]
        self._next = 0
        self.embeds: dict[Panel, Tensor] = {}
        self.renew(len(self._names))

    def renew(self, count: int) -> None:
        """The next so many panels, as vision sees them now."""
        names = [self._names[(self._next + place) % len(self._names)] for place in range(count)]
        self._next += count
        seen = encode(self.bench, [shrink(raven_iq.draw_panel(name)) for name in names])
        self.embeds.update(zip(names, seen, strict=True))
