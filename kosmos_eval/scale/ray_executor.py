"""An executor on Ray: every worker holds a replica of the model, and the driver hands out work units."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any

from kosmos_eval.errors import KosmosEvalError, ModelError
from kosmos_eval.executor import Answer, Engine, Executor
from kosmos_eval.models import model_for_run
from kosmos_eval.models.base import Model
from kosmos_eval.models.locate import resolve_device
from kosmos_eval.request import Request, images_of
from kosmos_eval.scale.cluster import connect, has_gpus, nodes, share
from kosmos_eval.scale.crew import Crew, Worker
from kosmos_eval.scale.dispatch import PATIENCE, Call, Dispatcher
from kosmos_eval.scale.elsewhere import Elsewhere
from kosmos_eval.scale.replica import Load
from kosmos_eval.work import WorkUnit

TICK_SECONDS = 1.0
"""How long news is waited for before the crew is looked at."""
FETCH_SECONDS = 60.0
"""How long an answer that was announced may take to arrive."""

Calls = dict[Any, Call[Worker]]
"""By the stream of answers that Ray returned."""


class RayExecutor:
    """Has units asked by `workers` replicas of what `load` returns; by as many as there is room for, where it is None.

    `workers` may be set while it runs, and nodes may join and leave. `patience`: seconds without an answer after which
    a worker is taken to hang, is ended, and its unit asked by another. Close it to give the workers back.
    """

    def __init__(
        self,
        load: Load,
        model: Model,
        *,
        address: str | None = None,
        workers: int | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.load, self.model, self.address, self.patience = load, model, address, patience
        self._workers = workers
        self._crew: Crew | None = None

    @property
    def workers(self) -> int | None:
        return self._workers

    @workers.setter
    def workers(self, wanted: int | None) -> None:
        self._workers = wanted
        if self._crew is not None:
            self._crew.wanted = wanted

    def run(self, units: Iterable[WorkUnit]) -> Iterator[Answer]:
        units = iter(units)
        first = next(units, None)
        if first is None:
            return  # nothing to ask: nothing is started
        if self._crew is None:
            connect(self.address, self._workers)
            device = str(self.model.info.get("device", "cpu"))
            self._crew = Crew(self.load, self.model, share(device), self._workers)
        yield from _Shift(self._crew, Dispatcher(chain([first], units), patience=self.patience)).run()

    def close(self) -> None:
        """Ends the workers. The connection to Ray stays, for the next model."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None


class _Shift:
    """One stream of units, from the first to the last answer."""

    def __init__(self, crew: Crew, dispatcher: Dispatcher[Worker]) -> None:
        self.crew, self.dispatcher = crew, dispatcher
        self.calls: Calls = {}

    def run(self) -> Iterator[Answer]:
        now = time.monotonic()
        for worker in self.crew.ready:
            self._join(worker, now)
        try:
            while True:
                found = self._look()
                self._hand_out()
                if self.dispatcher.finished:
                    yield from found
                    return
                found += self._hear()
                self._hand_out()  # before answers are kept, so that no worker waits for the disk
                yield from found
        finally:
            for call in self.calls.values():  # whoever still asks is of no use to the next stream of units
                self.crew.dismiss(call.worker)

    def _join(self, worker: Worker, now: float) -> None:
        if worker.report is not None:
            self.dispatcher.join(worker, worker.report.node, now)

    def _look(self) -> list[Answer]:
        """Workers that are gone or hang."""
        now = time.monotonic()
        found = [answer for worker in self.crew.look(now) for answer in self._lose(worker)]
        for worker in self.dispatcher.hung(now):
            found += self._lose(worker, f"{worker.name} gave no answer for {self.dispatcher.patience:g} s")
        return found

    def _hand_out(self) -> None:
        import ray

        for call in self.dispatcher.recalls():
            stream = next(stream for stream, one in self.calls.items() if one is call)
            del self.calls[stream]
            ray.cancel(stream)
        for call in self.dispatcher.calls(time.monotonic()):
            requests = call.unit.requests
            self.calls[call.worker.actor.ask.remote(requests, _witness(requests))] = call

    def _hear(self) -> list[Answer]:
        """Waits for news, then takes all there is."""
        import ray

        starting = {worker.starting: worker for worker in self.crew.workers if worker.starting is not None}
        waiting = [*starting, *self.calls]
        if not waiting:
            time.sleep(TICK_SECONDS)
            return []
        ray.wait(waiting, num_returns=1, timeout=TICK_SECONDS, fetch_local=False)
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0, fetch_local=False)
        found: list[Answer] = []
        for one in ready:
            if one in starting:
                found += self._started(starting[one])
            elif one in self.calls:  # its worker may have been lost by the news before
                found += self._answered(one, self.calls[one])
        return found

    def _started(self, worker: Worker) -> list[Answer]:
        import ray

        try:
            report = ray.get(worker.starting, timeout=FETCH_SECONDS)
        except ray.exceptions.RayError as error:
            self.crew.dismiss(worker)
            self.dispatcher.failure(f"a worker did not start: {_reason(error)}")
            return []
        self.crew.welcome(worker, report)
        self._join(worker, time.monotonic())
        return []

    def _answered(self, stream: Any, call: Call[Worker]) -> list[Answer]:
        import ray

        try:
            item = ray.get(next(stream), timeout=FETCH_SECONDS)
        except StopIteration:
            del self.calls[stream]
            return self.dispatcher.ended(call, time.monotonic())
        except ray.exceptions.RayError as error:
            gone = call.worker.report is not None and call.worker.report.node not in nodes()
            return self._lose(call.worker, None if gone else f"{call.worker.name} failed: {_reason(error)}")
        if isinstance(item, ModelError):
            # It may be this worker's device: another one is asked before it is the model's fault.
            return self._lose(call.worker, f"{call.worker.name}: {item}")
        if isinstance(item, KosmosEvalError):
            raise type(item)(f"{call.worker.name}: {item}")
        return self.dispatcher.heard(call, item, time.monotonic())

    def _lose(self, worker: Worker, trouble: str | None = None) -> list[Answer]:
        self.crew.dismiss(worker)
        self.calls = {stream: call for stream, call in self.calls.items() if call.worker is not worker}
        return self.dispatcher.leave(worker, trouble)


def on_ray(address: str | None = None, workers: int | None = None, patience: float = PATIENCE) -> Engine:
    """Models asked by Ray workers; what `in_process` is for this process."""

    @contextmanager
    def engine(name: str, device: str, dtype: str, revision: str | None) -> Iterator[tuple[Model, Executor]]:
        if device == "auto" and address:
            connect(address, workers)  # what the workers have decides, not what this machine has
            device = "cuda" if has_gpus() else "cpu"
        device, dtype = resolve_device(device, dtype, here=not address)
        model = Elsewhere(model_for_run(name, device, dtype, revision, here=not address), "ray")
        load = partial(model_for_run, name, device, dtype, revision)
        executor = RayExecutor(load, model, address=address, workers=workers, patience=patience)
        try:
            yield model, executor
        finally:
            executor.close()

    return engine


def _witness(requests: Iterable[Request]) -> Any:
    """One picture of a unit that is there, for workers to see whether they see it, too."""
    paths = (image.path for request in requests for image in images_of(request) if image.path is not None)
    first = next(paths, None)
    return first if first is not None and first.exists() else None


def _reason(error: Exception) -> str:
    """The end of what Ray says, where the cause stands."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join((lines[-1] if lines else type(error).__name__).split())[:200]
