"""A cluster in virtual time: the dispatcher, with workers that are fast, slow, late, lost and silent, and no Ray.

    python tests/dispatch_simulation.py [REQUESTS] [WORKERS] [WEATHER: calm or storm]

Prints figures as JSON; seconds that are not virtual are of the processor. Real units, requests and answers go through
the dispatcher; the answer to a request is scripted.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kosmos_eval.executor import Answer
from kosmos_eval.prompt import Text
from kosmos_eval.request import Choice, ChoiceScore, Request, Response, Score, Stage, StageResult
from kosmos_eval.scale.dispatch import Call, Dispatcher, Reply
from kosmos_eval.work import UNIT_REQUESTS, WorkUnit

CONTEXT = (Text("Question: is it? Answer: yes"),)
STAGES = (Stage("answer", (Text("Question: is it? Answer:"),), Score((Choice("yes", " yes"), Choice("no", " no")))),)
LOADING, SECONDS, SPREAD = 30.0, 0.02, 0.3
"""Virtual seconds until a worker has loaded, and of a request; how much units differ (sigma of the log)."""
PARTS = 4
"""In so many parts a unit's answers come."""
T = TypeVar("T")


@dataclass(frozen=True)
class Weather:
    """What befalls a cluster. `slow`: the share of workers at a third of the speed; `deaf`: whether workers go on with
    units that were taken back."""

    seed: int = 0
    lost_nodes: int = 0
    hangs: int = 0
    late: int = 0
    slow: float = 0
    deaf: bool = False


def units(requests: int, size: int) -> Iterator[WorkUnit]:
    for number, start in enumerate(range(0, requests, size)):
        end = min(start + size, requests)
        yield WorkUnit(number, tuple(Request(str(i), CONTEXT, STAGES) for i in range(start, end)))


def scripted(request: str) -> float:
    return -(int(request) * 2654435761 % 1000003) / 1000003


def replies_to(unit: WorkUnit, start: int = 0, end: int | None = None) -> Iterator[Reply]:
    for i, request in enumerate(unit.requests[start:end], start):
        choice = ChoiceScore("yes", scripted(request.id), 1)
        yield i, Response(request.id, (StageResult("answer", choices=(choice,)),)), SECONDS, None


@dataclass(eq=False)
class Worker:
    """One worker of the simulated cluster. It works on the first of its queue."""

    node: str
    speed: float
    ready: float = 0.0
    gone: float | None = None
    busy: float = 0.0
    hangs: bool = False
    queue: list[Call[Worker]] = field(default_factory=list)


class Simulation:
    """So many requests over so many workers, `node` of them on a node; an event queue stands for the clock."""

    def __init__(self, requests: int, workers: int, unit: int, depth: int, weather: Weather, node: int = 8) -> None:
        self.requests, self.weather, self.node = requests, weather, node
        self.rng = random.Random(weather.seed)
        expected = LOADING + requests * SECONDS / workers
        self.patience = LOADING + 10 * unit * SECONDS
        self.planning = 0.0
        self.dispatcher: Dispatcher[Worker] = Dispatcher(self._planned(unit), depth, patience=self.patience)
        self.workers: list[Worker] = []
        self.seen = bytearray(requests)
        self.answered = self.failed = self.most = 0
        self.now, self.spent = 0.0, 0.0
        self.first_idle: float | None = None
        self._count = itertools.count()
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        for i in range(workers):
            self._add(f"node{i // node}")
        for i in range(weather.late):
            self._after(self.rng.uniform(0, expected), self._add, f"late{i // node}")
        for _ in range(weather.lost_nodes):
            self._after(self.rng.uniform(0, expected), self._lose_node)
        for _ in range(weather.hangs):
            self._after(self.rng.uniform(0, expected), self._hang)

    def run(self) -> dict[str, Any]:
        """Until every request is answered. Fails where one is answered twice, wrongly or not at all."""
        began = time.process_time()
        self._hand_out()
        while not self.dispatcher.finished:
            self.now, _, what, arguments = heapq.heappop(self._events)
            what(*arguments)
            self._hand_out()
        assert all(self.seen)
        seconds = time.process_time() - began
        present = sum(max(0.0, (self.now if w.gone is None else w.gone) - w.ready) for w in self.workers)
        tail = self.now - (self.now if self.first_idle is None else self.first_idle)
        return {
            "requests": self.requests,
            "workers": len(self.workers),
            "answered": self.answered,
            "failed": self.failed,
            "virtual_seconds": round(self.now, 1),
            "utilisation": round(sum(w.busy for w in self.workers) / present, 4) if present else 1.0,
            "tail_seconds": round(tail, 1),
            "tail_share": round(tail / self.now, 4) if self.now else 0.0,
            "most_units_in_flight": self.most,
            "seconds": round(seconds, 1),
            "requests_per_second": round(self.requests / seconds),
            "dispatcher_seconds": round(self.spent - self.planning, 2),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }

    def _planned(self, size: int) -> Iterator[WorkUnit]:
        """The units, and how long it took to make them: that is the plan's time, not the dispatcher's."""
        made = units(self.requests, size)
        while True:
            began = time.process_time()
            unit = next(made, None)
            self.planning += time.process_time() - began
            if unit is None:
                return
            yield unit

    def _after(self, seconds: float, what: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._count), what, arguments))

    def _timed(self, what: Callable[[], T]) -> T:
        began = time.process_time()
        found = what()
        self.spent += time.process_time() - began
        return found

    def _hand_out(self) -> None:
        for call in self._timed(self.dispatcher.recalls):
            if not self.weather.deaf:
                call.worker.queue.remove(call)
        for call in self._timed(lambda: list(self.dispatcher.calls(self.now))):
            call.worker.queue.append(call)
            if len(call.worker.queue) == 1:
                self._begin(call.worker)
        present = self.dispatcher.workers
        self.most = max(self.most, sum(len(worker.queue) for worker in present))
        if self.first_idle is None and present and not all(worker.queue for worker in present):
            self.first_idle = self.now  # with room and nothing to hand out: the end has begun
        elif self.first_idle is not None and all(worker.queue for worker in present):
            self.first_idle = None  # something came back

    def _add(self, node: str) -> None:
        speed = self.rng.uniform(0.8, 1.25) / (3 if self.rng.random() < self.weather.slow else 1)
        worker = Worker(node, speed, self.now + LOADING)
        self.workers.append(worker)
        self._after(LOADING, self._join, worker)

    def _join(self, worker: Worker) -> None:
        if worker.gone is None:
            self.dispatcher.join(worker, worker.node, self.now)

    def _begin(self, worker: Worker) -> None:
        call = worker.queue[0]
        seconds = len(call.unit.requests) * SECONDS * self.rng.lognormvariate(0, SPREAD) / worker.speed
        self._after(seconds / PARTS, self._part, worker, call, 1, seconds / PARTS)
        self._after(self.patience + 1, self._look)

    def _part(self, worker: Worker, call: Call[Worker], part: int, seconds: float) -> None:
        if worker.gone is not None or worker.hangs:
            return
        worker.busy += seconds
        size = len(call.unit.requests)
        replies = list(replies_to(call.unit, size * (part - 1) // PARTS, size * part // PARTS))
        self._take(self._timed(lambda: self.dispatcher.heard(call, replies, self.now)))
        if part < PARTS:
            self._after(seconds, self._part, worker, call, part + 1, seconds)
            self._after(self.patience + 1, self._look)
            return
        self._take(self._timed(lambda: self.dispatcher.ended(call, self.now)))
        worker.queue.pop(0)
        if worker.queue:
            self._begin(worker)

    def _look(self) -> None:
        for worker in self._timed(lambda: self.dispatcher.hung(self.now)):
            self._end(worker, "gave no answer")
            self._add(worker.node)

    def _lose_node(self) -> None:
        there = [worker for worker in self.workers if worker.gone is None]
        if not there:
            return  # the node before it is not back yet
        node = self.rng.choice(there).node
        for worker in there:
            if worker.node == node:
                self._end(worker, None)
                self._after(60, self._add, node)

    def _hang(self) -> None:
        there = [worker for worker in self.workers if worker.gone is None]
        if there:
            self.rng.choice(there).hangs = True

    def _end(self, worker: Worker, trouble: str | None) -> None:
        worker.gone = self.now
        self._take(self._timed(lambda: self.dispatcher.leave(worker, trouble)))

    def _take(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            response = answer.response
            place = int(response.id)
            assert not self.seen[place]
            assert response.id == answer.unit.requests[answer.index].id
            self.seen[place] = 1
            if response.error is None:
                assert response.stages[0].choices[0].logprob == scripted(response.id)
                self.answered += 1
            else:
                self.failed += 1


CALM = Weather(slow=0.02)
"""Some workers are slow, as in any cluster."""
STORM = Weather(lost_nodes=4, hangs=4, late=16, slow=0.02)
"""And nodes of 8 are lost and come back, workers hang, some come late."""


def main(requests: int = 10_000_000, workers: int = 256, weather: Weather = CALM) -> dict[str, Any]:
    return Simulation(requests, workers, UNIT_REQUESTS, 2, weather).run()


if __name__ == "__main__":
    kinds = {"calm": CALM, "storm": STORM}
    print(json.dumps(main(*map(int, sys.argv[1:3]), *(kinds[kind] for kind in sys.argv[3:])), indent=1))
