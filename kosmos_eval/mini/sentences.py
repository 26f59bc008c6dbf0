"""The sentences the user points at: read, cleaned and cut into those to train on and those to watch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kosmos_eval.data.render_text import _BRACKETS, read_stsa
from kosmos_eval.errors import DataError
from kosmos_eval.mini.tokenizer import ALPHABET

LABELS = ("negative", "positive")
MONITORED = 872
_SHARED_WORDS = 4
_KNOWN = set(ALPHABET) | {" "}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and what it says: `positive` or `negative`."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """Whole sentences and shorter phrases to train on, and sentences that are only watched."""

    sentences: list[Labelled]
    phrases: list[Labelled]
    monitor: list[Labelled]


def _spellable(text: str) -> bool:
    return set(text) <= _KNOWN


def read_glue(path: Path) -> list[Labelled]:
    """A GLUE file: a header, then `text<tab>0|1` a line."""
    found: list[Labelled] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()[1:], start=2):
        text, _, label = line.rpartition("\t")
        if label not in ("0", "1"):
            raise DataError(f"{path}, line {number}: expected 'text<tab>0' or 'text<tab>1'")
        words = (_BRACKETS.get(word.lower(), word) for word in text.split())
        found.append(Labelled(" ".join(words), LABELS[int(label)]))
    return found


def _word_runs(sentences: Iterable[str]) -> set[tuple[str, ...]]:
    """All runs of a few words or more."""
    runs: set[tuple[str, ...]] = set()
    for sentence in sentences:
        words = sentence.split()
        for start in range(len(words)):
            runs.update(tuple(words[start:end]) for end in range(start + _SHARED_WORDS, len(words) + 1))
    return runs


def load_corpus(files: Iterable[Path]) -> Corpus:
    """Reads `.tsv` files as GLUE's and others as stsa's; of the latter, the sentences of least hash are watched.

    A phrase that is part of a watched sentence is left out of training.
    """
    sentences: list[Labelled] = []
    phrases: list[Labelled] = []
    for file in files:
        if file.suffix == ".tsv":
            phrases += read_glue(file)
        else:
            sentences += [Labelled(text, label) for label, text in read_stsa(file)]
    sentences = sorted(set(sentences), key=lambda s: hashlib.blake2b(s.text.encode()).digest())
    monitor = sentences[:MONITORED] if len(sentences) > 2 * MONITORED else sentences[: len(sentences) // 8]
    watched = _word_runs(s.text for s in monitor)
    kept = [p for p in phrases if tuple(p.text.split()) not in watched and _spellable(p.text) and p.text]
    train = [s for s in sentences[len(monitor) :] if _spellable(s.text)]
    return Corpus(train, kept, monitor)
