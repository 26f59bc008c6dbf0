"""Which worker asks which work unit, and what becomes of units whose worker is lost.

Bookkeeping alone: no Ray, no clock, no model. Times are handed in, so that a cluster can be simulated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kosmos_eval.disk import hide_home
from kosmos_eval.errors import ModelError
from kosmos_eval.executor import Answer
from kosmos_eval.pictures import Files
from kosmos_eval.request import Response
from kosmos_eval.work import WorkUnit

DEPTH = 2
"""Units that a worker has at most: the one it asks, and one so that it need not wait for the driver."""
ATTEMPTS = 3
"""So many workers may fail at a unit before it is given up."""
PATIENCE = 1800.0
"""Seconds without an answer after which a worker is taken to hang. Loading a model and its first batch count."""

Reply = tuple[int, Response, float, Files | None]
"""What a worker says to one request of a unit: its index, the response, seconds, and its pictures' files."""

W = TypeVar("W", bound=Hashable)


@dataclass(slots=True, eq=False)
class Task:
    """A unit until it is answered."""

    unit: WorkUnit
    answered: set[int] = field(default_factory=set)
    troubles: list[str] = field(default_factory=list)
    """Why it had to be asked again."""
    places: set[str] = field(default_factory=set)
    """Where it failed: it is asked elsewhere, if there is an elsewhere."""


@dataclass(slots=True, eq=False)
class Call(Generic[W]):
    """A unit in the hands of a worker."""

    worker: W
    task: Task

    @property
    def unit(self) -> WorkUnit:
        return self.task.unit


@dataclass(slots=True)
class _Desk(Generic[W]):
    """A worker's calls, of which it works on the first, and when it last gave a sign of life."""

    place: str
    calls: list[Call[W]]
    news: float


class Dispatcher(Generic[W]):
    """Takes units only as workers have room for them, so that no more than DEPTH of them a worker are in memory."""

    def __init__(
        self,
        units: Iterable[WorkUnit],
        depth: int = DEPTH,
        attempts: int = ATTEMPTS,
        patience: float = PATIENCE,
    ) -> None:
        self._units = iter(units)
        self._depth, self._attempts, self.patience = depth, attempts, patience
        self._exhausted = False
        self._again: deque[Task] = deque()
        self._desks: dict[W, _Desk[W]] = {}
        self._most_workers = 0
        self._failures = 0
        """Workers that failed since a unit was last completed."""

    @property
    def finished(self) -> bool:
        """Whether every unit is answered; found out by `calls`."""
        return self._exhausted and not self._again and not any(desk.calls for desk in self._desks.values())

    @property
    def workers(self) -> list[W]:
        return list(self._desks)

    def join(self, worker: W, place: str, now: float) -> None:
        """A worker is there to be asked. `place`: what it shares with others that may fail as it does (its node)."""
        self._desks[worker] = _Desk(place, [], now)
        self._most_workers = max(self._most_workers, len(self._desks))

    def calls(self, now: float) -> Iterator[Call[W]]:
        """Hands out units while some worker has room; what has to be asked again comes first."""
        waiting = {worker: desk for worker, desk in self._desks.items() if len(desk.calls) < self._depth}
        while waiting and (self._again or not self._exhausted):
            worker = min(waiting, key=lambda w: len(waiting[w].calls))
            desk = waiting[worker]
            task = self._next(desk.place)
            if task is None:
                del waiting[worker]
                continue
            if not desk.calls:
                desk.news = now
            call = Call(worker, task)
            desk.calls.append(call)
            if len(desk.calls) == self._depth:
                del waiting[worker]
            yield call

    def recalls(self) -> list[Call[W]]:
        """Towards the end: calls that no worker has begun, taken back for workers that have none."""
        idle = sum(not desk.calls for desk in self._desks.values()) - len(self._again)
        found: list[Call[W]] = []
        while self._exhausted and len(found) < idle:
            fullest = max(self._desks.values(), key=lambda desk: len(desk.calls))
            if len(fullest.calls) < 2:
                break
            found.append(fullest.calls.pop())
            self._again.append(found[-1].task)
        return found

    def heard(self, call: Call[W], replies: Iterable[Reply], now: float) -> list[Answer]:
        """What a worker answered; without what is known already, from it or from another worker."""
        desk = self._desk_of(call)
        if desk is None:
            return []
        desk.news = now
        task = call.task
        new = [reply for reply in replies if reply[0] not in task.answered]
        task.answered.update(index for index, *_ in new)
        return [Answer(task.unit, *reply) for reply in new]

    def ended(self, call: Call[W], now: float) -> list[Answer]:
        """A worker is done with a unit."""
        desk = self._desk_of(call)
        if desk is None:
            return []
        desk.news = now
        desk.calls.remove(call)
        missing = len(call.unit.requests) - len(call.task.answered)
        if missing:
            return self._failed(call.task, f"{missing} requests were left unanswered", desk.place)
        self._failures = 0
        return []

    def leave(self, worker: W, trouble: str | None = None) -> list[Answer]:
        """A worker is gone, and what it had is asked by others. `trouble`: what it failed at, if it did, while it asked
        the first of its units. Returns failures where that unit is given up.

        Raises ModelError where one worker after the other fails and no unit is completed.
        """
        desk = self._desks.pop(worker, None)
        if desk is None:
            return []
        begun = desk.calls.pop(0).task if desk.calls else None
        self._again.extendleft(call.task for call in reversed(desk.calls))
        if begun is None:
            if trouble is not None:
                self.failure(trouble)
            return []
        if trouble is None:
            self._again.appendleft(begun)
            return []
        return self._failed(begun, trouble, desk.place)

    def failure(self, trouble: str) -> None:
        """Notes that a worker failed. Raises ModelError where nothing else happens any more."""
        self._failures += 1
        if self._failures >= max(2 * self._attempts, 3 * self._most_workers):
            raise ModelError(
                f"{self._failures} workers failed one after the other, and none completed a work unit (the last: "
                f"{trouble}); what was committed is kept: see to the workers, then give the same command again"
            )

    def hung(self, now: float) -> list[W]:
        """Workers that have a unit and gave no sign of life for too long."""
        return [w for w, desk in self._desks.items() if desk.calls and now - desk.news > self.patience]

    def _desk_of(self, call: Call[W]) -> _Desk[W] | None:
        """Whose call it is; None where it was taken back, or its worker is gone."""
        desk = self._desks.get(call.worker)
        return desk if desk is not None and call in desk.calls else None

    def _next(self, place: str) -> Task | None:
        for task in self._again:
            if place not in task.places or all(desk.place in task.places for desk in self._desks.values()):
                self._again.remove(task)
                return task
        if self._exhausted:
            return None
        unit = next(self._units, None)
        if unit is None:
            self._exhausted = True
            return None
        return Task(unit)

    def _failed(self, task: Task, trouble: str, place: str) -> list[Answer]:
        self.failure(trouble)
        task.troubles.append(trouble)
        task.places.add(place)
        if len(task.troubles) < self._attempts:
            self._again.append(task)
            return []
        error = hide_home(f"{len(task.troubles)} workers failed while they asked its work unit: {trouble}")
        left = [i for i in range(len(task.unit.requests)) if i not in task.answered]
        return [Answer(task.unit, i, Response(task.unit.requests[i].id, error=error), 0.0) for i in left]
