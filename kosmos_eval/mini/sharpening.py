"""Reading live: pages seen with gradients, so that what the decoder misreads makes the image tokens clearer.

With vision frozen the decoder reads no better than its image tokens tell; new image tokens, though, a trained decoder
has to learn anew. Here both move together, slowly, while the labels of the dense stages hold the image tokens to what
the pictures show.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kosmos_eval.mini.batches import Batch, collate, draw_shifts
from kosmos_eval.mini.config import DecodeStage
from kosmos_eval.mini.dense_heads import DenseHeads
from kosmos_eval.mini.dense_labels import BINS, SLOTS, STRIP
from kosmos_eval.mini.fast import encode_patches, resample
from kosmos_eval.mini.pictures import DenseExample, dense_batch, normalise
from kosmos_eval.mini.pools import Page, labelled_page
from kosmos_eval.mini.scripts import build_row
from kosmos_eval.mini.sentences import Corpus
from kosmos_eval.mini.skills import read_page
from kosmos_eval.mini.stage_dense import read_labels, unit_tokens
from kosmos_eval.mini.workbench import Workbench

CLIP_NORM = 1.0
_DRAWN = 12


@dataclass(frozen=True, slots=True)
class Reading:
    """A batch of pages to transcribe, and the loss of the labels of what is in them."""

    batch: Batch
    labels: Tensor
    right: float


class Sharpening(nn.Module):
    """The readers of the dense stage, and the pages they and the decoder read together."""

    def __init__(self, bench: Workbench, stage: DecodeStage, corpus: Corpus, scores: dict[str, float]) -> None:
        super().__init__()
        self.heads = DenseHeads(bench.network.config.text.embed_dim, [STRIP * BINS, SLOTS]).to(bench.device)
        self.bench, self.stage, self.corpus, self.scores = bench, stage, corpus, scores

    def vision(self) -> list[nn.Parameter]:
        """What learns besides the readers."""
        network = self.bench.network
        return [*network.vision.parameters(), *network.resampler.parameters()]

    def warm_up(self, make_rng: Callable[[int], random.Random]) -> float:
        """The readers learn what there is to read before they may teach; returns the share they read at the end."""
        optimiser = torch.optim.AdamW(self.heads.parameters(), lr=2e-3, weight_decay=0.02)
        right = 0.0
        for step in range(self.stage.heads_first):
            examples = self._others(make_rng(step), pages=6)
            with torch.no_grad():
                tokens = self._encode(examples)
            loss, right = self._read(tokens, examples)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        return right

    def draw(self, rng: random.Random, longest: int, budget: int) -> Reading:
        """Pages of about one length, as many as fit the budget, and other pictures beside them."""
        official = self.bench.recipe.official_look
        drawn = sorted((labelled_page(rng, self.corpus, official) for _ in range(_DRAWN)), key=_length)
        first = last = rng.randrange(_DRAWN)
        while first > 0 and _cost(drawn[last][0]) * (last - first + 2) <= budget:
            first -= 1
        while last + 1 < _DRAWN and _cost(drawn[last + 1][0]) * (last - first + 2) <= budget:
            last += 1
        chosen = drawn[first : last + 1]
        examples = [example for _, example in chosen] + self._others(rng, pages=0)
        tokens = self._encode(examples)
        labels, right = self._read(tokens, examples)
        rows = [
            build_row(read_page(rng, page, embeds, self.scores, longest))
            for (page, _), embeds in zip(chosen, tokens, strict=False)
        ]
        width = self.bench.network.config.text.embed_dim
        return Reading(collate(rows, width, self.bench.device, draw_shifts(rng, rows)), labels, right)

    def _others(self, rng: random.Random, pages: int) -> list[DenseExample]:
        mix = {name: count for name, count in self.stage.beside.items() if name != "page"}
        if not pages and mix:
            mix = dict.fromkeys(rng.choices(list(mix), list(mix.values()), k=2), 1)
        texts = [sentence.text for sentence in self.corpus.sentences]
        return dense_batch(rng, texts, mix | {"page": pages}, self.bench.recipe.official_look)

    def _encode(self, examples: Sequence[DenseExample]) -> Tensor:
        pixels = normalise([example.pixels for example in examples]).to(self.bench.device)
        with self.bench.mixed_precision():
            features = encode_patches(self.bench.network.vision, pixels)
        return resample(self.bench.network.resampler, features)[0]

    def _read(self, tokens: Tensor, examples: Sequence[DenseExample]) -> tuple[Tensor, float]:
        chars, attributes = read_labels(examples, True, self.bench.device)
        found = self.heads(unit_tokens(self.bench, tokens), chars, attributes)
        return found.loss, found.characters[0]


def _length(drawn: tuple[Page, DenseExample]) -> int:
    return len(drawn[0].text)


def _cost(page: Page) -> int:
    return len(page.text) + 80
