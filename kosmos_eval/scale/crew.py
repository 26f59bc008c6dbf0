"""The crew: workers that are started, watched and ended, as many as are wanted and the cluster has room for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kosmos_eval.environment import versions
from kosmos_eval.errors import CheckpointError, KosmosEvalError, UsageError
from kosmos_eval.models.base import Model
from kosmos_eval.scale.cluster import Share, nodes
from kosmos_eval.scale.replica import Load, Replica, Report

LOOK_SECONDS = 2.0
"""How often it is seen to which nodes there are."""
START_SECONDS = 600.0
"""So long there may be no worker at all: a cluster that grows on demand needs minutes for a node."""


@dataclass(slots=True, eq=False)
class Worker:
    """A Ray actor. `starting` until it has reported."""

    actor: Any
    starting: Any | None
    report: Report | None = None

    @property
    def name(self) -> str:
        return f"the worker on {self.report.address}" if self.report else "a worker"


class Crew:
    """`wanted` workers, or as many as the nodes have room for, where that is None. It may be changed at any time."""

    def __init__(self, load: Load, model: Model, share: Share, wanted: int | None) -> None:
        self.load, self.model, self.share, self.wanted = load, model, share, wanted
        self.workers: list[Worker] = []
        self._looked = float("-inf")
        self._alone_since: float | None = None

    @property
    def ready(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.report is not None]

    def look(self, now: float) -> Iterator[Worker]:
        """Sees to the nodes and to the number of workers; yields those that are gone: their node is, or they are too
        many. Raises UsageError where no worker can be had."""
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        alive = nodes()
        for worker in self.ready:
            if worker.report is not None and worker.report.node not in alive:
                self.dismiss(worker)
                yield worker
        wanted = sum(map(self.share.fits, alive.values())) if self.wanted is None else self.wanted
        while len(self.workers) > wanted:
            last = next((w for w in self.workers if w.report is None), self.workers[-1])
            self.dismiss(last)
            yield last
        while len(self.workers) < wanted:
            self._hire()
        if self.ready:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > START_SECONDS:
            raise UsageError(
                f"no worker could be started in {START_SECONDS:g} s: each needs {self.share}, and the cluster has "
                f"{len(alive)} nodes with room for {sum(map(self.share.fits, alive.values()))}; add nodes, or free them"
            )

    def welcome(self, worker: Worker, report: Report | KosmosEvalError) -> None:
        """Notes that a worker is ready. Raises CheckpointError or UsageError where it would not say the same as others,
        and whatever kept it from finding the model."""
        worker.starting = None
        if isinstance(report, KosmosEvalError):
            raise report
        if report.fingerprint != self.model.fingerprint:
            raise CheckpointError(
                f"node {report.address} has other files for model {self.model.name!r} (fingerprint "
                f"{report.fingerprint[:12]}, here {self.model.fingerprint[:12]}): give every node the same checkpoint"
            )
        for name, here in versions().items():
            there = report.versions.get(name)
            if name != "python" and (there is None or there.split("+")[0] != here.split("+")[0]):
                raise UsageError(
                    f"node {report.address} has {name} {there}, here is {here}: install the same on every node"
                )
        worker.report = report

    def dismiss(self, worker: Worker) -> None:
        """Ends a worker at once, also one that hangs or whose node is gone."""
        import ray

        if worker in self.workers:
            self.workers.remove(worker)
            ray.kill(worker.actor)

    def close(self) -> None:
        for worker in list(self.workers):
            self.dismiss(worker)

    def _hire(self) -> None:
        import ray

        options = {"num_cpus": self.share.cpus, "num_gpus": self.share.gpus, "scheduling_strategy": "SPREAD"}
        actor = ray.remote(Replica).options(**options).remote(self.load, os.getcwd())
        self.workers.append(Worker(actor, actor.start.remote()))
