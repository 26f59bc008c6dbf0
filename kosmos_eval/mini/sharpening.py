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

from kosmos_eval.mini.batches import Batch, collate, draw_shifts, of_one_length
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

READERS = "readers"
_DRAWN, _PAGES, _BESIDE_TEXT = 12, 6, 80


@dataclass(frozen=True, slots=True)
class Reading:
    """A batch of pages to transcribe; the readers' loss, and the shares they read right."""

    batch: Batch
    labels: Tensor
    right: dict[str, float]


class Sharpening(nn.Module):
    """The readers of the dense stage, and the pages they and the decoder read together."""

    def __init__(self, bench: Workbench, stage: DecodeStage, corpus: Corpus) -> None:
        super().__init__()
        self.heads = DenseHeads(bench.network.config.text.embed_dim, [STRIP * BINS, SLOTS]).to(bench.device)
        self.bench, self.stage, self.corpus = bench, stage, corpus
        self.texts = [sentence.text for sentence in corpus.sentences]

    def vision(self) -> list[nn.Parameter]:
        """What learns besides the readers."""
        network = self.bench.network
        return [*network.vision.parameters(), *network.resampler.parameters()]

    def warm_up(self, make_rng: Callable[[int], random.Random]) -> float:
        """The readers learn what there is to read before they may teach; returns the share they read at the end."""
        optimiser = torch.optim.AdamW(self.heads.parameters(), lr=2e-3, weight_decay=0.02)
        right: dict[str, float] = {}
        for step in range(self.stage.heads_first):
            examples = self._pictures(make_rng(step), {**self.stage.beside, "page": _PAGES})
            with torch.no_grad():
                tokens = self._encode(examples)
            loss, right = self._read(tokens, examples)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        return right.get(READERS, 0.0)

    def draw(self, rng: random.Random, scores: dict[str, float], longest: int, budget: int) -> Reading:
        """Pages of about one length, as many as fit the budget, and one or two other pictures beside them."""
        official = self.bench.recipe.official_look
        drawn = [labelled_page(rng, self.corpus, official) for _ in range(_DRAWN)]
        chosen = of_one_length(rng, drawn, _length, budget)
        kinds = rng.choices(list(self.stage.beside), list(self.stage.beside.values()), k=2)
        examples = [example for _, example in chosen] + self._pictures(rng, dict.fromkeys(kinds, 1))
        tokens = self._encode(examples)
        labels, right = self._read(tokens, examples)
        rows = [
            build_row(read_page(rng, page, embeds, scores, longest))
            for (page, _), embeds in zip(chosen, tokens, strict=False)
        ]
        width = self.bench.network.config.text.embed_dim
        return Reading(collate(rows, width, self.bench.device, draw_shifts(rng, rows)), labels, right)

    def see(self, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        """The readers' loss on pictures that nobody transcribes, most of them full pages, and the shares they read.

        A page with all it holds takes the vision tower no longer than a short one, and no decoder has to run."""
        examples = self._pictures(rng, self.stage.see)
        return self._read(self._encode(examples), examples)

    def _pictures(self, rng: random.Random, mix: dict[str, int]) -> list[DenseExample]:
        return dense_batch(rng, self.texts, mix, self.bench.recipe.official_look)

    def _encode(self, examples: Sequence[DenseExample]) -> Tensor:
        pixels = normalise([example.pixels for example in examples]).to(self.bench.device)
        with self.bench.mixed_precision():
            features = encode_patches(self.bench.network.vision, pixels)
        return resample(self.bench.network.resampler, features)[0]

    def _read(self, tokens: Tensor, examples: Sequence[DenseExample]) -> tuple[Tensor, dict[str, float]]:
        """The loss, and the shares that are right: of characters, and of each attribute there is."""
        chars, attributes = read_labels(examples, True, self.bench.device)
        found = self.heads(unit_tokens(self.bench, tokens), chars, attributes)
        return found.loss, {READERS: found.characters[0], **found.attributes}


def _length(drawn: tuple[Page, DenseExample]) -> int:
    """About how many tokens a page takes, its picture and its question included."""
    return len(drawn[0].text) + _BESIDE_TEXT
