"""What is asked: requests of made-up pictures and tokens, of the lengths that few-shot evaluation has."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kosmos_eval.errors import UsageError, nearest
from kosmos_eval.prompt import Image, Segment, Tokens
from kosmos_eval.request import Choice, Generate, Request, Score, Stage

PICTURE = 256
"""Edge of a picture: it has to be resized, as those of benchmarks have."""
POOL = 64
"""Demonstrations from which each query draws its own, where they are drawn per query."""
FIRST_WORD = 256
"""Token ids below may be special, or letters."""


@dataclass(frozen=True, slots=True)
class Work:
    """Requests, and the functions of `hugging_face` that do the same.

    `reference_queries` is how many of them such a function is given each time: it is slow, and its cost is the same for
    each. `shots` may be ignored by a kind of work that has its own.
    """

    name: str
    about: str
    requests: list[Request]
    against: tuple[str, ...]
    reference_queries: int

    def only(self, against: Sequence[str]) -> Work:
        """The same work against some of its denominators. Raises UsageError for one it has not."""
        for arm in against:
            if arm not in self.against:
                raise UsageError(f"{self.name} is not compared with {arm!r}; it is with {', '.join(self.against)}")
        return replace(self, against=tuple(against))


class _Made:
    """Pictures and tokens drawn from one seed."""

    def __init__(self, seed: int, vocabulary: int) -> None:
        self.rng, self.vocabulary = random.Random(seed), vocabulary

    def tokens(self, least: int, most: int) -> Tokens:
        length = self.rng.randint(least, most)
        return Tokens(tuple(self.rng.randrange(FIRST_WORD, self.vocabulary) for _ in range(length)))

    def picture(self) -> Image:
        import PIL.Image

        noise = np.random.default_rng(self.rng.randrange(2**32)).integers(0, 256, (PICTURE, PICTURE, 3), dtype=np.uint8)
        return Image.of(PIL.Image.fromarray(noise))

    def demonstrations(self, count: int) -> list[tuple[Image, Tokens]]:
        return [(self.picture(), self.tokens(16, 32)) for _ in range(count)]

    def choices(self) -> Score:
        targets = [self.tokens(1, 4) for _ in range(2)]
        return Score(tuple(Choice(str(i), "", target_ids=t.ids) for i, t in enumerate(targets)))


def _flat(demonstrations: list[tuple[Image, Tokens]]) -> tuple[Segment, ...]:
    return tuple(segment for demo in demonstrations for segment in demo)


def _score(made: _Made, shots: int, queries: int) -> Work:
    context = _flat(made.demonstrations(shots))
    act = made.choices()
    requests = [
        Request(str(i), context, (Stage("answer", (made.picture(), made.tokens(12, 24)), act),)) for i in range(queries)
    ]
    against = ("s0", "s2", "s3") if shots else ("s0",)
    return Work("score", f"{shots}-shot, 2 choices", requests, against, min(queries, 4))


def _score_random(made: _Made, shots: int, queries: int) -> Work:
    pool, act = made.demonstrations(POOL), made.choices()
    requests = []
    for i in range(queries):
        context = _flat(made.rng.sample(pool, shots))
        requests.append(Request(str(i), context, (Stage("answer", (made.picture(), made.tokens(12, 24)), act),)))
    return Work(
        "score-random", f"{shots}-shot of {POOL}, drawn per query, 2 choices", requests, ("s0",), min(queries, 4)
    )


def _writing(made: _Made, shots: int, queries: int, stages: Callable[[Tokens], tuple[Stage, ...]]) -> list[Request]:
    """Queries of one length: Hugging Face's batches need no padding then, which it gets wrong."""
    context = _flat(made.demonstrations(shots))
    return [Request(str(i), (*context, made.picture()), stages(made.tokens(18, 18))) for i in range(queries)]


def _greedy(made: _Made, shots: int, queries: int) -> Work:
    requests = _writing(made, shots, queries, lambda query: (Stage("answer", (query,), Generate(16)),))
    return Work("greedy", f"{shots}-shot, greedy, 16 tokens", requests, ("greedy",), min(queries, 8))


def _beam(made: _Made, shots: int, queries: int) -> Work:
    requests = _writing(made, shots, queries, lambda query: (Stage("answer", (query,), Generate(16, beams=5)),))
    return Work("beam", f"{shots}-shot, 5 beams, 16 tokens", requests, ("beam",), 1)


def _mcot(made: _Made, shots: int, queries: int) -> Work:
    question = made.tokens(10, 10)

    def stages(query: Tokens) -> tuple[Stage, ...]:
        return Stage("rationale", (query,), Generate(48)), Stage("answer", (question,), Generate(8))

    requests = _writing(made, shots, queries, stages)
    return Work("mcot", f"{shots}-shot, rationale of 48 tokens, answer of 8", requests, ("mcot",), 1)


def _raven(made: _Made, shots: int, queries: int) -> Work:
    requests = []
    for i in range(queries):
        context = tuple(made.picture() for _ in range(8))
        ask = made.tokens(8, 8)
        choices = Score(tuple(Choice(str(c), "", (made.picture(), ask), made.tokens(1, 1).ids) for c in range(6)))
        requests.append(Request(str(i), (), (Stage("answer", (*context, made.tokens(12, 12)), choices),)))
    return Work("raven", "8 context pictures, 6 candidate pictures", requests, ("s0",), 1)


WORKS: dict[str, Callable[[_Made, int, int], Work]] = {
    "score": _score, "score-random": _score_random, "greedy": _greedy, "beam": _beam, "mcot": _mcot, "raven": _raven,
}  # fmt: skip


def make_work(name: str, shots: int, queries: int, vocabulary: int, seed: int = 0) -> Work:
    """A kind of work by name; the same for the same arguments. Raises UsageError for what cannot be asked."""
    if name not in WORKS:
        raise UsageError(f"no work {name!r}{nearest(name, tuple(WORKS))}")
    if queries < 1 or not 0 <= shots <= POOL:
        raise UsageError(f"{queries} queries at {shots} shots: give at least 1 query, and 0 to {POOL} shots")
    return WORKS[name](_Made(seed, vocabulary), shots, queries)
