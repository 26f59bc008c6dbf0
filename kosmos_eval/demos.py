"""Demonstrations: which samples are shown before a query. Pure: seed, ids and an index decide, not rank or batch."""

from __future__ import annotations

import hashlib
import heapq
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Literal, Protocol, get_args

from kosmos_eval.errors import UsageError, nearest
from kosmos_eval.rices import PictureIndex
from kosmos_eval.spool import spooled
from kosmos_eval.task import Sample

Sampler = Literal["fixed", "random", "balanced", "rices", "rices-first"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
RETRIEVED = ("rices", "rices-first")
"""Samplers that take the samples of most similar pictures: the most similar one last, or first."""
POOL = 2048
"""Demonstrations are drawn from this many samples of smallest hash, so that a large train set costs no more."""


def rank(seed: int, purpose: str, sample_id: str) -> int:
    """A sample's place in a seeded order: 64 bits of hash(seed, purpose, id)."""
    text = f"{seed}\0{purpose}\0{sample_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def ordered(samples: Sequence[Sample], seed: int, purpose: str, n: int | None = None) -> list[Sample]:
    """The `n` samples of smallest hash (all by default), in that order."""
    return heapq.nsmallest(len(samples) if n is None else n, samples, key=lambda s: (rank(seed, purpose, s.id), s.id))


def limited(samples: Sequence[Sample], limit: int | None, seed: int) -> Sequence[Sample]:
    """`limit` samples of smallest hash(seed, id), each label in its share; in file order."""
    if limit is None or limit >= len(samples):
        return samples
    by_label: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for s in samples:
        by_label[s.label or ""].append((rank(seed, "limit", s.id), s.id))
    # The k-th of a label's n samples has its turn (k + 1/2) / n of the way: each label has its share at every limit,
    # and a smaller limit is a part of a larger one.
    turns = (
        ((k + 0.5) / len(group), place, name)
        for group in by_label.values()
        for k, (place, name) in enumerate(sorted(group))
    )
    chosen = {name for _, _, name in heapq.nsmallest(limit, turns)}
    return spooled(s for s in samples if s.id in chosen)


def sampler_of(demos: str) -> tuple[str, str | None]:
    """`rices:NAME` in its parts: the sampler, and the model whose vision tower compares pictures (None: the run's own).

    Raises UsageError for an unknown sampler, and for a model named to one that needs none.
    """
    sampler, colon, model = demos.partition(":")
    if sampler not in SAMPLERS:
        raise UsageError(f"no demonstration sampler {sampler!r}{nearest(sampler, SAMPLERS)}")
    if colon and (sampler not in RETRIEVED or not model):
        raise UsageError(f"--demos {demos}: a model's name stands after rices or rices-first only, as in rices:NAME")
    return sampler, model or None


def permutation(shots: int, order: int, seed: int) -> tuple[int, ...]:
    """The places of the `order`-th seeded order of so many demonstrations; the 0th is as they were chosen.

    No two are the same, and none depends on how many are evaluated. Raises UsageError where there are not so many.
    """
    if not 0 <= order < math.factorial(shots):
        raise UsageError(f"{shots} demonstrations have {math.factorial(shots)} orders; there is no order {order}")
    found = {tuple(range(shots)): None}
    drawn = random.Random(rank(seed, "orders", str(shots)))
    while len(found) <= order:
        found[tuple(drawn.sample(range(shots), shots))] = None
    return list(found)[order]


class Chooser(Protocol):
    """What says which demonstrations a query is shown, and in which order."""

    @property
    def seed(self) -> int: ...

    def choose(self, query: Sample) -> tuple[Sample, ...]: ...


class DemoChooser:
    """Chooses a query's demonstrations from a pool; never the query itself, nor one with an image of the query.

    `index` is what `rices` chooses by. `order` shows the same demonstrations in another of their orders.
    """

    def __init__(
        self,
        pool: Sequence[Sample],
        sampler: str,
        shots: int,
        seed: int,
        index: PictureIndex | None = None,
        order: int = 0,
    ) -> None:
        self.sampler, _ = sampler_of(sampler)
        self.shots, self.seed = shots, seed
        self._places = permutation(shots, order, seed)
        self._near: _Near | None = None
        if self.sampler in RETRIEVED:
            if index is None:
                raise ValueError("rices chooses by an index, which is made beforehand")
            self._near = _Near(pool, index, seed)
            candidates: list[Sample] = []
        else:
            candidates = ordered(pool, seed, "demos", POOL)
        self._order = _alternating(candidates, seed) if self.sampler == "balanced" else candidates

    @property
    def one_set(self) -> tuple[Sample, ...] | None:
        """The demonstrations, in the order they are shown, of every query that is not one of them; None where each
        query has its own."""
        if not self.shots or self.sampler not in ("fixed", "balanced"):
            return None
        return self._shown(self._order[: self.shots])

    def choose(self, query: Sample) -> tuple[Sample, ...]:
        """The query's demonstrations, in the order they are shown."""
        if not self.shots:
            return ()
        images = {i.name for i in query.images}
        chosen: list[Sample] = []
        for s in self._candidates(query):
            if s != query and not any(i.name in images for i in s.images):  # ids may recur in another split
                chosen.append(s)
                if len(chosen) == self.shots:
                    return self._shown(chosen)
        raise UsageError(
            f"{self.shots} shots asked for, but only {len(chosen)} demonstrations are available for {query.id!r}: "
            "ask for fewer shots or bring a larger demonstration split"
        )

    def _candidates(self, query: Sample) -> Iterator[Sample]:
        """The pool in the order in which this query takes from it: fewer shots take a part of what more would."""
        if self._near is not None:
            return self._near.to(query)
        if self.sampler == "random":
            return iter(random.Random(rank(self.seed, "query", query.id)).sample(self._order, len(self._order)))
        return iter(self._order)

    def _shown(self, chosen: Sequence[Sample]) -> tuple[Sample, ...]:
        shown = chosen[::-1] if self.sampler == "rices" else chosen
        return tuple(shown[place] for place in self._places)


class _Near:
    """A pool by the likeness of its pictures to a query's, the most similar first."""

    def __init__(self, pool: Sequence[Sample], index: PictureIndex, seed: int) -> None:
        self._pool, self._index = pool, index
        places = sorted((rank(seed, "demos", s.id), s.id, place) for place, s in enumerate(pool))
        self._first = [place for _, _, place in places[:POOL]]
        self._of: defaultdict[int, list[int]] = defaultdict(list)
        """Number of a picture -> the places of the samples that show it, by their hash."""
        numbers = [index.pool[s.images[0]] for s in pool]
        for _, _, place in places:
            self._of[numbers[place]].append(place)

    def to(self, query: Sample) -> Iterator[Sample]:
        near = self._index.nearest.get(query.images[0])
        if near is None:  # unreadable: the model will say so; what it is shown before does not matter
            return (self._pool[place] for place in self._first)
        return (self._pool[place] for number in near for place in self._of[int(number)])


def fewest(pool: Sequence[Sample], samples: Iterable[Sample]) -> int:
    """How many demonstrations of a pool are free for the sample that has the least choice, under any sampler."""
    by_id: dict[str, list[int]] = defaultdict(list)
    by_image: dict[str, list[int]] = defaultdict(list)
    for place, demo in enumerate(pool):
        by_id[demo.id].append(place)
        for image in demo.images:
            by_image[image.name].append(place)
    most_barred = 0
    for s in samples:
        barred = {place for image in s.images for place in by_image.get(image.name, ())}
        barred.update(place for place in by_id.get(s.id, ()) if pool[place] == s)
        most_barred = max(most_barred, len(barred))
    return len(pool) - most_barred


def _alternating(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Samples by hash, labels taking turns; which label begins is drawn by the seed."""
    by_label: dict[str, list[Sample]] = defaultdict(list)
    for s in samples:
        by_label[s.label or ""].append(s)
    labels = sorted(by_label, key=lambda label: rank(seed, "label", label))
    turns = zip_longest(*(by_label[label] for label in labels))
    return [s for turn in turns for s in turn if s is not None]
