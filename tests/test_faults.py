"""What a machine does to a run: no room, no permission, another clock, failures. Each is told, and the run goes on."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import torch
from made_up_data import TASKS_DIR, cell, colours, kept, write_colours

import kosmos_eval.job as job_module
import kosmos_eval.work as work_module
from kosmos_eval.benchmarks.shapes import random_network
from kosmos_eval.data.render_text import render_sst2
from kosmos_eval.errors import KosmosEvalError, ModelError, StoreError
from kosmos_eval.executor import InProcess
from kosmos_eval.kosmos.weights import save_network
from kosmos_eval.models.fake import FakeModel, ScriptedCrashError
from kosmos_eval.report import write_report
from kosmos_eval.rescoring import rescore
from kosmos_eval.run import complete, run, run_path
from kosmos_eval.store import RunFolder
from kosmos_eval.tables import write_csv, write_json, write_latex, write_markdown
from kosmos_eval.tables.parts import Part
from kosmos_eval.task import Task

resource = pytest.importorskip("resource", reason="limits of files and permissions as POSIX has them")

TEST = 40
NOBODY = 65534


@pytest.fixture(autouse=True)
def _small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "UNIT_SAMPLES", 4)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return colours(write_colours(tmp_path / "data", {"train": 4, "test": TEST}))


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system refuses to let any file grow beyond so many bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def without_permission(folder: Path) -> Iterator[None]:
    """The folder is read-only, and whoever runs this is bound by that."""
    mode, root = folder.stat().st_mode, os.geteuid() == 0
    folder.chmod(0o555)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(mode)


@pytest.mark.parametrize("size", [0, 3000, 5000, 9000])
def test_without_room_it_stops_and_then_completes(task: Task, tmp_path: Path, size: int) -> None:
    run(cell(task), FakeModel(), tmp_path / "whole")
    out = tmp_path / "out"
    with files_of_at_most(size), pytest.raises(StoreError, match="the disk is full or a quota") as caught:
        run(cell(task), FakeModel(), out)
    assert str(out) in str(caught.value)
    assert "make room and give the same command again" in str(caught.value)
    folder = RunFolder(run_path(out, cell(task), FakeModel()))
    before = len(folder.records())
    assert before % 4 == 0
    assert run(cell(task), FakeModel(), out).asked == TEST - before
    assert kept([cell(task)], out) == kept([cell(task)], tmp_path / "whole")


def test_a_folder_that_may_not_be_written_is_told() -> None:
    folder = Path(tempfile.mkdtemp())  # below no folder that others may not enter
    try:
        folder.chmod(0o755)
        task = colours(write_colours(folder / "data", {"train": 4, "test": TEST}))
        assert task.samples
        with pytest.raises(ScriptedCrashError):
            run(cell(task), FakeModel(crash_after=10), folder)
        path = run_path(folder, cell(task), FakeModel())
        for locked, out in ((folder, folder / "new"), (path, folder)):
            told = pytest.raises(StoreError, match="make its folder writable, or give another --out")
            with without_permission(locked), told as caught:
                run(cell(task), FakeModel(), out)
            assert str(folder) in str(caught.value)
        assert run(cell(task), FakeModel(), folder).asked == TEST - 8
    finally:
        shutil.rmtree(folder)


def test_on_error_stop_ends_the_run_and_keeps_what_was_committed(task: Task, tmp_path: Path) -> None:
    bad = FakeModel(raises=lambda r: RuntimeError("out of memory") if r.id == "test/18" else None)
    with pytest.raises(ModelError, match=r"test/18: RuntimeError: out of memory; stopped by --on-error stop"):
        list(complete([cell(task)], bad, InProcess(bad), tmp_path, on_error="stop"))
    assert len(RunFolder(run_path(tmp_path, cell(task), bad)).records()) == 16
    assert run(cell(task), FakeModel(), tmp_path).asked == TEST - 16


def test_a_clock_that_goes_back_changes_nothing(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(cell(task), FakeModel(), tmp_path / "whole")

    class Back(datetime):
        days = 0

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            cls.days += 1
            return datetime.now(UTC) - timedelta(days=1000 * cls.days)

    monkeypatch.setattr(job_module, "datetime", Back)
    monkeypatch.setattr("time.perf_counter", iter(range(10**6, 0, -1)).__next__)
    out = tmp_path / "out"
    for crash in (10, 10, None):
        with suppress(ScriptedCrashError):
            run(cell(task), FakeModel(crash_after=crash), out)
        os.utime(tmp_path / "data" / "test3.png", (1, 1))
    assert kept([cell(task)], out) == kept([cell(task)], tmp_path / "whole")
    assert run(cell(task), FakeModel(), out).asked == 0


def test_a_run_folder_that_is_a_file_is_told(task: Task, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(KosmosEvalError, match="runs"):
        run(cell(task), FakeModel(), tmp_path)


FRAME, PART = pd.DataFrame({"model": ["x" * 5000]}), Part("t" * 5000, ("model",), (("x",),))
WRITERS: dict[str, Callable[[Path, Path], object]] = {
    "--csv": lambda path, _: write_csv(FRAME, path),
    "--json": lambda path, _: write_json(FRAME, path),
    "--markdown": lambda path, _: write_markdown([PART], path),
    "--latex": lambda path, _: write_latex([PART], path),
    "a report": lambda path, results: write_report(results, path),
    "scores": lambda _, results: rescore(results, ["ChanceBaseline"], TASKS_DIR),
    "a checkpoint": lambda path, _: save_network(random_network("mini", 0, "cpu", torch.float16), path),
    "pictures": lambda path, results: render_sst2(results / "sentences.txt", path, "test"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_whatever_is_written_a_full_disk_is_told(kind: str, task: Task, tmp_path: Path) -> None:
    results, path = tmp_path / "results", tmp_path / "new" / "out"
    folder = run(cell(task), FakeModel(), results).folder.path
    (results / "sentences.txt").write_text("1 a fine film\n0 a dull film\n")
    before = {p: p.read_bytes() for p in results.rglob("*") if p.is_file()}
    with files_of_at_most(100):
        try:
            found = WRITERS[kind](path, results)
            told = found.attrs["refused"][0]["reason"] if isinstance(found, pd.DataFrame) else "nothing"
        except StoreError as error:
            told = str(error)
    assert told.startswith(str(folder if kind == "scores" else path.parent))
    assert "make room" in told
    assert {p: p.read_bytes() for p in results.rglob("*") if p.is_file()} == before
    assert not list(tmp_path.rglob("*.draft"))
    WRITERS[kind](path, results)
