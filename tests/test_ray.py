"""Ray workers: the same results as one process, whatever becomes of workers and nodes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_up_data import TASKS_DIR, cell, colours, kept, write_colours

import kosmos_eval.scale.crew as crew_module
import kosmos_eval.work as work_module
from kosmos_eval.cell import Cell
from kosmos_eval.errors import CheckpointError, ModelError, UsageError
from kosmos_eval.executor import Answer, InProcess
from kosmos_eval.grid import plan_sweep
from kosmos_eval.models.base import Model
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.request import Request, Response
from kosmos_eval.run import CellFailure, Done, complete
from kosmos_eval.scale.dispatch import PATIENCE
from kosmos_eval.scale.ray_executor import RayExecutor, on_ray
from kosmos_eval.tables import leaderboard
from kosmos_eval.tables.board import TIMING
from kosmos_eval.task import Task

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'kosmos-eval[ray]')")
from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = pytest.mark.slow
TEST = 60


@pytest.fixture(autouse=True)
def _small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "UNIT_REQUESTS", 16)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without room for workers. Its workers find the modules of these tests."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 10**8})
    ray.init(found.address, log_to_driver=False, logging_level="error")
    yield found
    ray.shutdown()
    found.shutdown()


@contextmanager
def nodes(cluster: Cluster, *cpus: int) -> Iterator[list[Any]]:
    added = [cluster.add_node(num_cpus=count, object_store_memory=10**8) for count in cpus]
    try:
        yield added
    finally:
        for node in added:
            if node in cluster.list_all_nodes():
                cluster.remove_node(node)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return colours(write_colours(tmp_path_factory.mktemp("colours"), {"train": 8, "test": TEST}))


@pytest.fixture(scope="module")
def cells(task: Task) -> list[Cell]:
    return plan_sweep([task], ["standard", "mcot"], [0, 2], tasks_dir=TASKS_DIR)


@pytest.fixture
def expected(cells: list[Cell], tmp_path: Path) -> tuple[list[Any], str]:
    model = FakeModel()
    list(complete(cells, model, InProcess(model), tmp_path / "one"))
    return kept(cells, tmp_path / "one"), csv(tmp_path / "one")


def csv(out: Path) -> str:
    """The leaderboard without what the clock says."""
    return leaderboard(out).drop(columns=list(TIMING)).to_csv()


class Slow(FakeModel):
    """Takes its time, so that something can happen meanwhile; `trap` is what it does at a request."""

    def __init__(self, seconds: float = 0.02, trap: Callable[[Request], None] | None = None) -> None:
        super().__init__()
        self.seconds, self.trap = seconds, trap

    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Response]]:
        for index, request in enumerate(requests):
            time.sleep(self.seconds)
            if self.trap is not None:
                self.trap(request)
            yield index, self._respond(request)


class Watched(RayExecutor):
    """Calls `happens` at an answer."""

    happens: Callable[[int], None]

    def run(self, units: Any) -> Iterator[Answer]:
        for count, answer in enumerate(super().run(units)):
            self.happens(count)
            yield answer


def finish(cells: list[Cell], out: Path, load: Callable[[], Model], workers: int | None, happens: Callable[[int], None] = lambda _: None, patience: float = PATIENCE) -> tuple[list[Done], Watched]:  # noqa: E501  # fmt: skip
    executor = Watched(load, FakeModel(), workers=workers, patience=patience)
    executor.happens = happens
    try:
        return list(complete(cells, FakeModel(), executor, out)), executor
    finally:
        executor.close()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_what_one_process_gives(
    cluster: Cluster, cells: list[Cell], expected: tuple[list[Any], str], tmp_path: Path, workers: int
) -> None:
    with nodes(cluster, 4):
        finish(cells, tmp_path / "ray", FakeModel, workers)
    assert (kept(cells, tmp_path / "ray"), csv(tmp_path / "ray")) == expected


def test_a_node_that_is_killed_half_way(
    cluster: Cluster, cells: list[Cell], expected: tuple[list[Any], str], tmp_path: Path
) -> None:
    with nodes(cluster, 2, 2) as added:

        def happens(count: int) -> None:
            if count == 2 * TEST:
                cluster.remove_node(added[1], allow_graceful=False)

        finish(cells, tmp_path / "ray", Slow, 4, happens)
    assert (kept(cells, tmp_path / "ray"), csv(tmp_path / "ray")) == expected


def test_workers_come_and_go_with_nodes_and_by_number(
    cluster: Cluster, cells: list[Cell], expected: tuple[list[Any], str], tmp_path: Path
) -> None:
    seen: list[int] = []
    with nodes(cluster, 1) as added:
        executor = Watched(lambda: Slow(0.2), FakeModel())

        def happens(count: int) -> None:
            assert executor._crew is not None
            seen.append(len(executor._crew.ready))
            if count == 20:
                added.append(cluster.add_node(num_cpus=2, object_store_memory=10**8))
            if seen[-1] == 3:
                executor.workers = 1

        executor.happens = happens
        list(complete(cells, FakeModel(), executor, tmp_path / "ray"))
        executor.close()
    assert max(seen) == 3
    assert (seen[0], seen[-1]) == (1, 1)
    assert (kept(cells, tmp_path / "ray"), csv(tmp_path / "ray")) == expected


def once(marker: Path, what: Callable[[], None]) -> Callable[[Request], None]:
    def trap(request: Request) -> None:
        if request.id == "test/30" and not marker.exists():
            marker.touch()
            what()

    return trap


def test_a_worker_that_ends_or_hangs_costs_nothing(
    cluster: Cluster, cells: list[Cell], expected: tuple[list[Any], str], tmp_path: Path
) -> None:
    ends = once(tmp_path / "ended", lambda: os.kill(os.getpid(), signal.SIGKILL))
    hangs = once(tmp_path / "hung", lambda: time.sleep(1000))
    with nodes(cluster, 2):
        finish(cells, tmp_path / "ray", lambda: Slow(trap=ends), 2)
        assert kept(cells, tmp_path / "ray") == expected[0]
        finish(cells, tmp_path / "again", lambda: Slow(trap=hangs), 2, patience=10)
        assert kept(cells, tmp_path / "again") == expected[0]
    assert (tmp_path / "ended").exists()
    assert (tmp_path / "hung").exists()


def test_what_always_hangs_is_recorded_with_the_reason(cluster: Cluster, task: Task, tmp_path: Path) -> None:
    def trap(request: Request) -> None:
        if request.id == "test/30":
            time.sleep(1000)

    with nodes(cluster, 2):
        (done,), _ = finish([cell(task)], tmp_path, lambda: Slow(trap=trap), 2, patience=15)
        assert not isinstance(done, CellFailure)
        counts = done.manifest.counts
        assert (counts.samples, counts.answered + counts.failed) == (TEST, TEST)
        assert 1 <= counts.failed <= 16
        assert "gave no answer for 15 s" in done.errors["test/30"]
        assert "3 workers failed while they asked its work unit" in done.errors["test/30"]
        (again,), _ = finish([cell(task)], tmp_path, FakeModel, 1)
    assert not isinstance(again, CellFailure)
    assert (again.asked, again.manifest.counts.failed) == (counts.failed, 0)


def test_workers_that_can_not_answer_are_told(cluster: Cluster, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: E501  # fmt: skip
    def broken() -> Model:
        return FakeModel(raises=lambda _: RuntimeError("CUDA error: device-side assert triggered"))

    def missing() -> Model:
        raise CheckpointError("/models/x: no such folder")

    with nodes(cluster, 2):
        with pytest.raises(ModelError, match=r"6 workers failed one after the other.*device-side assert"):
            finish([cell(task)], tmp_path, broken, 2)
        with pytest.raises(CheckpointError, match="no such folder"):
            finish([cell(task)], tmp_path, missing, 2)
        with pytest.raises(CheckpointError, match="has other files for model 'fake'"):
            finish([cell(task)], tmp_path, lambda: FakeModel(fingerprint="other"), 2)
    monkeypatch.setattr(crew_module, "START_SECONDS", 3)
    with pytest.raises(UsageError, match="each needs 1 CPU, and the cluster has 1 nodes with room for 0"):
        finish([cell(task)], tmp_path, FakeModel, None)


def test_nothing_is_started_where_nothing_is_to_be_asked(cluster: Cluster, task: Task, tmp_path: Path) -> None:
    list(complete([cell(task)], FakeModel(), InProcess(FakeModel()), tmp_path))
    with on_ray(workers=1)("fake", "auto", "auto", None) as (model, executor):
        (done,) = complete([cell(task)], model, executor, tmp_path)
        assert isinstance(executor, RayExecutor)
        assert executor._crew is None
    assert not isinstance(done, CellFailure)
    assert done.asked == 0
