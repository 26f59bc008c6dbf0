"""Demonstrations: which samples are shown before a query. Pure: seed and ids decide, not order, rank or batch."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from typing import Literal, get_args

from kosmos_eval.errors import UsageError, nearest
from kosmos_eval.spool import spooled
from kosmos_eval.task import Sample

Sampler = Literal["fixed", "random", "balanced"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
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


class DemoChooser:
    """Chooses a query's demonstrations from a pool; never the query itself, nor one with an image of the query."""

    def __init__(self, pool: Sequence[Sample], sampler: str, shots: int, seed: int) -> None:
        if sampler not in SAMPLERS:
            raise UsageError(f"no demonstration sampler {sampler!r}{nearest(sampler, SAMPLERS)}")
        self.sampler, self.shots, self.seed = sampler, shots, seed
        candidates = ordered(pool, seed, "demos", POOL)
        self.order = _alternating(candidates, seed) if sampler == "balanced" else candidates

    def choose(self, query: Sample) -> tuple[Sample, ...]:
        """The query's demonstrations, in the order they are shown. A smaller `shots` gives a prefix of a larger one."""
        if not self.shots:
            return ()
        order = self.order
        if self.sampler == "random":
            order = random.Random(rank(self.seed, "query", query.id)).sample(order, len(order))
        images = {i.name for i in query.images}
        chosen: list[Sample] = []
        for s in order:
            if s != query and not any(i.name in images for i in s.images):  # ids may recur in another split
                chosen.append(s)
                if len(chosen) == self.shots:
                    return tuple(chosen)
        raise UsageError(
            f"{self.shots} shots asked for, but only {len(chosen)} demonstrations are available for {query.id!r}: "
            "ask for fewer shots or bring a larger demonstration split"
        )


def _alternating(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Samples by hash, labels taking turns; which label begins is drawn by the seed."""
    by_label: dict[str, list[Sample]] = defaultdict(list)
    for s in samples:
        by_label[s.label or ""].append(s)
    labels = sorted(by_label, key=lambda label: rank(seed, "label", label))
    turns = zip_longest(*(by_label[label] for label in labels))
    return [s for turn in turns for s in turn if s is not None]
