"""Processes of this machine: the same results as one process; a worker that dies loses nothing that was committed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from made_up_data import TASKS_DIR, colours, kept, write_colours

import kosmos_eval.work as work_module
from kosmos_eval.cell import Cell
from kosmos_eval.errors import ModelError, UsageError
from kosmos_eval.executor import InProcess
from kosmos_eval.grid import plan_sweep
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.prompt import Text
from kosmos_eval.request import Choice, Request, Response, Score, Stage
from kosmos_eval.run import complete
from kosmos_eval.scale.processes import Processes, in_processes
from kosmos_eval.tables import leaderboard
from kosmos_eval.tables.board import TIMING
from kosmos_eval.work import WorkUnit

T = TypeVar("T")
DEADLY = "test/13"


class Deadly(FakeModel):
    """Kills its process at one sample, as the system does where memory runs out."""

    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Response]]:
        for index, request in enumerate(requests):
            if request.id == DEADLY:
                os.kill(os.getpid(), signal.SIGKILL)
            yield index, self._respond(request)


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    monkeypatch.setattr(work_module, "UNIT_REQUESTS", 16)
    task = colours(write_colours(tmp_path / "data", {"train": 8, "test": 30}))
    return plan_sweep([task], ["standard", "mcot"], [0, 2], tasks_dir=TASKS_DIR)


def csv(out: Path) -> str:
    """The leaderboard without what the clock says."""
    return leaderboard(out).drop(columns=list(TIMING)).to_csv()


@pytest.mark.skipif(os.name != "posix", reason="kills a process by a signal")
def test_processes_give_what_one_process_gives_also_after_one_died(cells: list[Cell], tmp_path: Path) -> None:
    model = FakeModel()
    list(complete(cells, model, InProcess(model), tmp_path / "one"))
    with pytest.raises(ModelError, match="fewer --workers"):
        list(complete(cells, model, Processes(Deadly, 2), tmp_path / "many"))
    list(complete(cells, model, Processes(FakeModel, 2), tmp_path / "many"))
    assert kept(cells, tmp_path / "many") == kept(cells, tmp_path / "one")
    assert csv(tmp_path / "many") == csv(tmp_path / "one")


class Sleeper(FakeModel):
    """Says which process it is in, and takes its time."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Response]]:
        (self.folder / f"{os.getpid()}.pid").touch()
        time.sleep(120)
        yield from super().run(requests)


def drive(folder: Path) -> None:
    """What the driver that is killed does."""
    prompt = (Text("Answer:"),)
    request = Request("r", prompt, (Stage("answer", prompt, Score((Choice("yes", " yes"),))),))
    list(Processes(partial(Sleeper, folder), 1).run([WorkUnit(0, (request,))]))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc")
def test_workers_end_with_a_driver_that_was_killed(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from test_processes import drive; drive(Path({str(tmp_path)!r}))"
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)
    assert (found := _waited(lambda: next(iter(tmp_path.glob("*.pid")), None))) is not None
    driver.kill()
    driver.wait()
    assert _waited(lambda: not Path("/proc", found.stem).exists() or None)


def _waited(for_what: Callable[[], T | None]) -> T | None:
    """What is there in the end; None after a minute."""
    for _ in range(600):
        if (found := for_what()) is not None:
            return found
        time.sleep(0.1)
    return None


def test_they_are_for_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(UsageError, match="cuda"), in_processes(2)("kosmos-mini", "auto", "auto", None):
        pass
