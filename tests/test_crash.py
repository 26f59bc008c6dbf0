"""Sweeps killed with SIGKILL at random moments, then resumed: nothing lost, nothing doubled, the same leaderboard.

The processes are forked, so that a kill costs milliseconds and a hundred of them can be afforded.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from made_up_data import TASKS_DIR, colours, kept, write_colours

import kosmos_eval.work as work_module
from kosmos_eval.cell import Cell
from kosmos_eval.executor import Answer, InProcess
from kosmos_eval.grid import plan_sweep
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.run import complete, run_path
from kosmos_eval.tables import leaderboard
from kosmos_eval.tables.board import TIMING
from kosmos_eval.work import WorkUnit

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


class Noting(InProcess):
    """Notes each unit in a file as it is begun; one unit is in flight at a time."""

    def __init__(self, notes: Path) -> None:
        super().__init__(FakeModel())
        self.notes = notes

    def run(self, units: Iterable[WorkUnit]) -> Iterator[Answer]:
        return super().run(self._noted(units))

    def _noted(self, units: Iterable[WorkUnit]) -> Iterator[WorkUnit]:
        with self.notes.open("a") as notes:
            for unit in units:
                print(*(f"{request.id}:{request.prompt_hash}" for request in unit.requests), file=notes, flush=True)
                yield unit


def started(cells: list[Cell], out: Path) -> int:
    """A forked process that completes the cells; its id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        executor = Noting(out / "notes")
        list(complete(cells, executor.model, executor, out))
        code = 0
    finally:
        os._exit(code)


def finished(process: int) -> bool:
    """Whether it ended by itself, all done; False if it was killed."""
    _, status = os.waitpid(process, 0)
    assert status in (0, signal.SIGKILL)
    return status == 0


def killed(cells: list[Cell], out: Path, size: int, seconds: float) -> bool:
    """Kills so many seconds after the notes have reached a size. Whether that came before the end."""
    process, notes = started(cells, out), out / "notes"
    enough = size + (notes.stat().st_size if notes.exists() else 0)
    while not (notes.exists() and notes.stat().st_size >= enough):
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.001)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    return not finished(process)


def table(out: Path) -> pd.DataFrame:
    """The leaderboard without what the clock says."""
    return leaderboard(out).drop(columns=list(TIMING))


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_and_resumed(kills: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "UNIT_REQUESTS", 15)
    task = colours(write_colours(tmp_path / "data", {"train": 8, "test": 30}))
    cells = plan_sweep([task], ["standard", "mcot"], [0, 2], tasks_dir=TASKS_DIR)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    assert finished(started(cells, whole))
    expected, expected_table = kept(cells, whole), table(whole)
    units = sorted((whole / "notes").read_text().splitlines())
    assert len(set(units)) == len(units)
    most = (whole / "notes").stat().st_size
    rng, done, repeated, left = random.Random(0), 0, 0, []
    while done < kills:
        shutil.rmtree(broken, ignore_errors=True)
        broken.mkdir()
        if not killed(cells, broken, rng.randrange(most), rng.uniform(0, 0.005)):
            continue  # it was faster
        again = rng.random() < 0.5 and killed(cells, broken, rng.randrange(most // 2), rng.uniform(0, 0.005))
        in_flight = 1 + again
        begun = (broken / "notes").read_text().splitlines() if (broken / "notes").exists() else []
        left.append(len(set(begun)) / len(units))
        assert finished(started(cells, broken))
        notes = (broken / "notes").read_text().splitlines()
        assert sorted(set(notes)) == units
        assert len(notes) - len(units) <= in_flight
        repeated += len(notes) - len(units)
        assert kept(cells, broken) == expected
        pd.testing.assert_frame_equal(table(broken), expected_table)
        lines = sum(len((run_path(broken, c, FakeModel()) / "responses.jsonl").read_text().splitlines()) for c in cells)
        assert lines == len(cells) * 30
        done += 1
    print(f"{done} killed, {min(left):.0%} to {max(left):.0%} of {len(units)} units begun; {repeated} units run twice")
