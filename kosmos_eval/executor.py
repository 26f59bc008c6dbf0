"""Executors: who asks a model the units of a plan, and where."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from kosmos_eval.faults import ask_all
from kosmos_eval.models import model_for_run
from kosmos_eval.models.base import Model
from kosmos_eval.pictures import Files, files_of
from kosmos_eval.request import Response
from kosmos_eval.work import WorkUnit


@dataclass(frozen=True, slots=True)
class Answer:
    """One response of a unit: to the request at `index`, `seconds` after the one before it in that unit."""

    unit: WorkUnit
    index: int
    response: Response
    seconds: float
    files: Files | None = None
    """What the files of its pictures were when it was asked."""


class Executor(Protocol):
    """Has units asked. Any number may be under way at once; the driver keeps each answer as it comes."""

    def run(self, units: Iterable[WorkUnit]) -> Iterator[Answer]:
        """Takes units as it has room for them and yields the answers of all of them, in any order.

        Every request of every unit is answered; an answer that comes twice is kept once. Taking a unit plans it: an
        executor that takes no more than it needs holds no more than that in memory.
        """
        ...


Engine = Callable[[str, str, str, str | None], AbstractContextManager[tuple[Model, Executor]]]
"""(name, device, dtype, revision) -> the model of that name, and who has it asked as long as the context lasts."""


class InProcess:
    """Asks a model in this process, one unit after the other."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def run(self, units: Iterable[WorkUnit]) -> Iterator[Answer]:
        for unit in units:
            yield from ask(self.model, unit)


@contextmanager
def in_process(name: str, device: str, dtype: str, revision: str | None) -> Iterator[tuple[Model, Executor]]:
    """The engine that is this process."""
    model = model_for_run(name, device, dtype, revision)
    yield model, InProcess(model)


def ask(model: Model, unit: WorkUnit) -> Iterator[Answer]:
    """Asks a model one unit, whole. Wherever a unit is run, it is run by this: what a model gets wrong is met here."""
    files = [files_of(request) for request in unit.requests]
    began = time.perf_counter()
    for index, response in ask_all(model, unit.requests):
        now = time.perf_counter()
        yield Answer(unit, index, response, now - began, files[index])
        began = now
