"""An executor on processes of this machine, each with a replica of the model and its share of the processor's cores.

Texts are written token by token, in steps that cores share badly; here each core has units of its own. They are handed
out whole, so the batches are those of one process. `docs/scale.md` says what was gained, and where nothing was.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from threading import Thread

from kosmos_eval.errors import ModelError, UsageError
from kosmos_eval.executor import Answer, Engine, Executor, ask
from kosmos_eval.models import model_for_run
from kosmos_eval.models.base import Model
from kosmos_eval.models.locate import resolve_device
from kosmos_eval.request import Request
from kosmos_eval.scale.dispatch import Reply
from kosmos_eval.scale.elsewhere import Elsewhere
from kosmos_eval.scale.replica import Load
from kosmos_eval.work import WorkUnit

_replica: list[Model] = []
"""In a worker: its model."""


def _begin(load: Load, threads: int) -> None:
    """Makes the model of this worker known; its weights are read at the first unit."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is the driver's to answer
    Thread(target=_end_with_the_driver, daemon=True).start()
    torch.set_num_threads(threads)
    _replica.append(load())


def _end_with_the_driver() -> None:
    """A driver that was killed cannot end its workers, and the pool's own would wait for it for ever."""
    driver = multiprocessing.parent_process()
    assert driver is not None
    driver.join()
    os._exit(1)


def _ask(requests: tuple[Request, ...]) -> list[Reply]:
    (model,) = _replica
    return [(a.index, a.response, a.seconds, a.files) for a in ask(model, WorkUnit(0, requests))]


class Processes:
    """Has units asked by `workers` processes, each with a model of its own that `load` returns."""

    def __init__(self, load: Load, workers: int) -> None:
        self.load, self.workers = load, workers

    def run(self, units: Iterable[WorkUnit]) -> Iterator[Answer]:
        units = iter(units)
        others = multiprocessing.active_children()
        threads = max(1, (os.cpu_count() or 1) // self.workers)
        pool = ProcessPoolExecutor(
            self.workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(self.load, threads)
        )
        waiting: dict[Future[list[Reply]], WorkUnit] = {}
        try:
            while True:
                # A worker takes its next unit at once; more than that would only be held in memory.
                while len(waiting) <= self.workers and (unit := next(units, None)) is not None:
                    waiting[pool.submit(_ask, unit.requests)] = unit
                if not waiting:
                    break
                for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                    unit = waiting.pop(done)
                    yield from (Answer(unit, *reply) for reply in done.result())
        except BrokenProcessPool:
            raise ModelError(
                "a worker process died; it may be that memory ran out: give fewer --workers. What was committed is kept"
            ) from None
        finally:
            pool.shutdown(wait=not waiting, cancel_futures=True)
            for child in multiprocessing.active_children():
                if child not in others:  # it still asks what nobody waits for any more
                    child.terminate()


def in_processes(workers: int | None = None) -> Engine:
    """Models asked by processes of this machine, as many as it has cores if not said; what `in_process` is for this
    process."""

    @contextmanager
    def engine(name: str, device: str, dtype: str, revision: str | None) -> Iterator[tuple[Model, Executor]]:
        device, dtype = resolve_device(device, dtype)
        if device != "cpu":
            raise UsageError(f"--engine processes is for the CPU, not for {device}: use --engine local, or ray")
        count = workers or os.cpu_count() or 1
        load = partial(model_for_run, name, device, dtype, revision)
        yield Elsewhere(load(), "processes", workers=count), Processes(load, count)

    return engine
