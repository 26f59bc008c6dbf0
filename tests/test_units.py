"""Work units: cut from the plan alone, asked whole, kept once, whatever the executor does and whatever dies."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_data import TASKS_DIR, cell, colours, kept, write_colours

import kosmos_eval.work as work_module
from kosmos_eval.cell import Cell
from kosmos_eval.executor import Answer, InProcess, ask
from kosmos_eval.grid import plan_sweep
from kosmos_eval.models.fake import FakeModel, ScriptedCrashError
from kosmos_eval.run import CellFailure, Done, RunResult, complete, run, run_path
from kosmos_eval.task import Task
from kosmos_eval.work import WorkUnit

TEST = 13


@pytest.fixture(autouse=True)
def _small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "UNIT_REQUESTS", 15)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return colours(write_colours(tmp_path_factory.mktemp("colours"), {"train": 8, "test": TEST}))


def grid(task: Task) -> list[Cell]:
    return plan_sweep([task], ["standard", "mcot"], [0, 2], seeds=[0, 1], tasks_dir=TASKS_DIR)


class Recording(InProcess):
    """Keeps the units it was given."""

    def __init__(self, model: FakeModel) -> None:
        super().__init__(model)
        self.units: list[WorkUnit] = []

    def run(self, units: Iterable[WorkUnit]) -> Iterator[Answer]:
        for unit in units:
            self.units.append(unit)
            yield from ask(self.model, unit)

    @property
    def asked(self) -> list[list[tuple[str, str]]]:
        return [[(r.id, r.prompt_hash) for r in unit.requests] for unit in self.units]


class Scattered(InProcess):
    """Several units under way at once, their answers mixed; some come twice."""

    def run(self, units: Iterable[WorkUnit]) -> Iterator[Answer]:
        rng, under_way = random.Random(1), []
        for unit in units:
            under_way.append(list(ask(self.model, unit)))
            if len(under_way) == 3:
                yield from self._some(under_way, rng, 20)
        yield from self._some(under_way, rng, 10**6)

    def _some(self, under_way: list[list[Answer]], rng: random.Random, most: int) -> Iterator[Answer]:
        for _ in range(most):
            if not under_way:
                return
            answers = rng.choice(under_way)
            answer = answers.pop(rng.randrange(len(answers)))
            yield answer
            if answers:
                yield answer
            else:
                under_way.remove(answers)


def finish(cells: list[Cell], out: Path, model: FakeModel | None = None) -> list[Done]:
    chosen = model or FakeModel()
    return list(complete(cells, chosen, InProcess(chosen), out))


def test_joint_units_give_what_single_runs_give(task: Task, tmp_path: Path) -> None:
    cells = grid(task)
    assert len(finish(cells, tmp_path / "joint")) == 8
    for one in cells:
        run(one, FakeModel(), tmp_path / "single")
    assert kept(cells, tmp_path / "joint") == kept(cells, tmp_path / "single")


def test_a_unit_holds_a_sample_of_every_cell_next_to_each_other(task: Task, tmp_path: Path) -> None:
    executor = Recording(FakeModel())
    cells = [c for c in grid(task) if c.seed == 0]
    list(complete(cells, executor.model, executor, tmp_path))
    rationales, *answers = executor.asked
    assert [i for i, _ in rationales] == [d.id for d in cells[3].rationale_demos]
    assert [len(unit) for unit in answers] == [12, 12, 12, 12, 4]
    assert [i for unit in answers for i, _ in unit] == [s.id for s in task.samples for _ in cells]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(crashes=st.lists(st.integers(0, 60), min_size=1, max_size=2))
def test_a_sweep_that_crashes_is_asked_in_the_units_it_would_have_had(task: Task, crashes: list[int]) -> None:
    cells = [c for c in grid(task) if c.seed == 0]
    with tempfile.TemporaryDirectory() as scratch:
        whole, broken = Path(scratch, "whole"), Path(scratch, "broken")
        uninterrupted = Recording(FakeModel())
        list(complete(cells, uninterrupted.model, uninterrupted, whole))
        for crash in crashes:
            executor = Recording(FakeModel(crash_after=crash))
            with suppress(ScriptedCrashError):  # it may be done before
                list(complete(cells, executor.model, executor, broken))
            assert all(unit in uninterrupted.asked for unit in executor.asked)
        last = Recording(FakeModel())
        list(complete(cells, last.model, last, broken))
        assert all(unit in uninterrupted.asked for unit in last.asked)
        assert kept(cells, broken) == kept(cells, whole)
        lines = sum(len((run_path(broken, c, FakeModel()) / "responses.jsonl").read_text().splitlines()) for c in cells)
        assert lines == len(cells) * TEST


def test_units_under_way_at_once_and_answers_that_come_twice(task: Task, tmp_path: Path) -> None:
    cells = grid(task)
    finish(cells, tmp_path / "plain")
    model = FakeModel()
    assert len(list(complete(cells, model, Scattered(model), tmp_path / "scattered"))) == 8
    assert kept(cells, tmp_path / "scattered") == kept(cells, tmp_path / "plain")


def test_a_run_that_is_finished_is_not_asked_with_the_others(task: Task, tmp_path: Path) -> None:
    cells = grid(task)
    run(cells[0], FakeModel(), tmp_path)
    model = FakeModel()
    done = {d.folder.path: d for d in finish(cells, tmp_path, model) if isinstance(d, RunResult)}
    assert done[run_path(tmp_path, cells[0], model)].asked == 0
    assert len(model.seen) == 7 * TEST + 4  # two demonstrations of two seeds
    again = FakeModel()
    assert len(finish(cells, tmp_path, again)) == 8
    assert again.seen == []


def test_an_executor_that_loses_a_unit_is_found_out(task: Task, tmp_path: Path) -> None:
    class Losing(InProcess):
        def run(self, units: Iterable[WorkUnit]) -> Iterator[Answer]:
            return super().run(unit for unit in units if unit.number != 1)

    model = FakeModel()
    with pytest.raises(RuntimeError, match="left 1 units unanswered"):
        list(complete([cell(task, p) for p in ("standard", "mcot")], model, Losing(model), tmp_path))


def test_a_cell_at_fault_stops_no_other(task: Task, tmp_path: Path) -> None:
    prompts = tmp_path / "colours.yaml"
    text = (TASKS_DIR / "colours.yaml").read_text()
    prompts.write_text(text + "late:\n  demo: ''\n  stages:\n    - {ask: \"{{ 1 // (question != 'Which colour, 7?') }}\", score: answers}\n")  # noqa: E501
    cells = [cell(task, prompt, prompts=prompts) for prompt in ("standard", "late", "mcot")]
    done = finish(cells, tmp_path / "out")
    failures = [d for d in done if isinstance(d, CellFailure)]
    assert [f.cell.prompt for f in failures] == ["late"]
    assert "cannot be filled in" in str(failures[0].error)
    assert sorted(d.manifest.prompt for d in done if isinstance(d, RunResult)) == ["mcot", "standard"]
    assert all(d.manifest.counts.answered == TEST for d in done if isinstance(d, RunResult))
