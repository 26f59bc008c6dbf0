"""A scripted model: tests runs, sweeps and tables without weights."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kosmos_eval.prompt import Image, Segment, describe, digest
from kosmos_eval.request import (
    Choice,
    ChoiceScore,
    Generate,
    Generated,
    Request,
    Response,
    StageResult,
    assemble,
)

WORDS = ("a", "red", "blue", "two", "square", "circle", "small", "yes", "no", "left")

Answerer = Callable[[Request, str, Sequence[Segment]], str]
"""(request, stage name, the whole sequence so far) -> the text that is generated."""


class ScriptedCrashError(BaseException):
    """What a FakeModel raises when it was told to crash: caught by nothing, as the end of a process is."""


@dataclass
class FakeModel:
    """Answers derived from a hash of what is asked, the same in every process.

    `answer` replaces the generated text; `crash_after` lets so many responses out, then ends; `refuse` names requests
    that do not fit; `raises` says what is raised at a request; `shuffle` answers out of order; `seen` lists the ids
    that were answered.
    """

    name: str = "fake"
    fingerprint: str = "fa4e"
    answer: Answerer | None = None
    crash_after: int | None = None
    refuse: Callable[[Request], bool] | None = None
    raises: Callable[[Request], Exception | None] | None = None
    shuffle: int | None = None
    check_images: bool = False
    seen: list[str] = field(default_factory=list)

    @property
    def info(self) -> dict[str, Any]:
        return {"device": "none", "dtype": "none", "positions": None}

    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Response]]:
        numbered = list(enumerate(requests))
        if self.shuffle is not None:
            random.Random(self.shuffle).shuffle(numbered)
        for index, request in numbered:
            if self.crash_after is not None and len(self.seen) >= self.crash_after:
                raise ScriptedCrashError(f"told to crash after {self.crash_after} responses")
            if self.raises is not None and (error := self.raises(request)) is not None:
                raise error
            self.seen.append(request.id)
            yield index, self._respond(request)

    def _respond(self, request: Request) -> Response:
        if self.refuse is not None and self.refuse(request):
            return Response(request.id, error="needs 9 positions, the model has 8", fits=False)
        outputs: dict[str, Generated] = {}
        results: list[StageResult] = []
        for k, stage in enumerate(request.stages):
            sequence = assemble(request, k, outputs)
            if self.check_images and (wrong := _unreadable(sequence)):
                return Response(request.id, error=wrong)
            if isinstance(stage.act, Generate):
                outputs[stage.name] = self._generate(request, stage.name, sequence, stage.act.max_tokens)
                results.append(StageResult(stage.name, generated=outputs[stage.name]))
            else:
                results.append(StageResult(stage.name, choices=_weigh(sequence, stage.act.choices)))
        return Response(request.id, tuple(results))

    def _generate(self, request: Request, stage: str, sequence: Sequence[Segment], most: int) -> Generated:
        if self.answer is not None:
            words = self.answer(request, stage, sequence).split()
        else:
            rng = random.Random(_hash(sequence))
            words = [rng.choice(WORDS) for _ in range(rng.randint(1, 3))]
        kept = words[:most]
        ids = tuple(int(digest(word)[:4], 16) for word in kept)
        return Generated(" " + " ".join(kept), ids, "eos" if len(kept) == len(words) else "length")


def _hash(sequence: Sequence[Segment]) -> str:
    return digest(describe(sequence))


def _weigh(sequence: Sequence[Segment], choices: Sequence[Choice]) -> tuple[ChoiceScore, ...]:
    logits = [random.Random(digest([_hash(sequence), c.name, describe(c.segments)])).uniform(0, 3) for c in choices]
    total = math.log(sum(math.exp(x) for x in logits))
    return tuple(ChoiceScore(c.name, x - total, 1) for c, x in zip(choices, logits, strict=True))


def _unreadable(sequence: Sequence[Segment]) -> str | None:
    """Why one of the images cannot be decoded, if one cannot."""
    from kosmos_eval.data.images import load
    from kosmos_eval.errors import ImageError

    for image in sequence:
        if isinstance(image, Image):
            try:
                load(image)
            except ImageError as error:
                return str(error)
    return None
