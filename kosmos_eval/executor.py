"""Executors: who asks a model the units of a plan, and where."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from kosmos_eval.models.base import Model
from kosmos_eval.record import finite
from kosmos_eval.request import Request, Response
from kosmos_eval.work import WorkUnit


@dataclass(frozen=True, slots=True)
class Answer:
    """One response of a unit: to the request at `index`, `seconds` after the one before it in that unit."""

    unit: WorkUnit
    index: int
    response: Response
    seconds: float


class Executor(Protocol):
    """Has units asked. Any number may be under way at once; the driver keeps each answer as it comes."""

    def run(self, units: Iterable[WorkUnit]) -> Iterator[Answer]:
        """Takes units as it has room for them and yields the answers of all of them, in any order.

        Every request of every unit is answered; an answer that comes twice is kept once. Taking a unit plans it: an
        executor that takes no more than it needs holds no more than that in memory.
        """
        ...


class InProcess:
    """Asks a model in this process, one unit after the other."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def run(self, units: Iterable[WorkUnit]) -> Iterator[Answer]:
        for unit in units:
            yield from ask(self.model, unit)


def ask(model: Model, unit: WorkUnit) -> Iterator[Answer]:
    """Asks a model one unit, whole. Wherever a unit is run, it is run by this: what a model gets wrong is met here."""
    began = time.perf_counter()
    answered: set[int] = set()
    for index, response in model.run(iter(unit.requests)):
        answered.add(index)
        now = time.perf_counter()
        yield Answer(unit, index, _own(response, unit.requests[index]), now - began)
        began = now
    if len(answered) != len(unit.requests):
        raise RuntimeError(f"model {model.name!r} answered {len(answered)} of {len(unit.requests)} requests")


def _own(response: Response, request: Request) -> Response:
    """The response under the id that was asked, its log-probabilities checked."""
    return finite(response if response.id == request.id else replace(response, id=request.id))
