"""Sweep files: the grid that is meant, or an error with line, key and the nearest right name."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_data import TASKS_DIR, write_colours
from typer.testing import CliRunner, Result

import kosmos_eval as ke
from kosmos_eval.cli import app
from kosmos_eval.data.mini import MINI_TASKS
from kosmos_eval.errors import KosmosEvalError, UsageError
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.sweep_file import read_sweep
from kosmos_eval.sweep_plan import Planner

GRID = """\
models: [fake]
tasks: colours
tasks_dir: {tasks}
data: {data}
prompts: [standard, mcot]
shots: [0, 2]
seeds: [0, 1]
limit: 6
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    data = write_colours(tmp_path / "data", {"train": 6, "test": 8})
    path = tmp_path / "sweep.yaml"
    path.write_text(GRID.format(tasks=TASKS_DIR, data=data))
    return path


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def more(file: Path, text: str) -> Path:
    file.write_text(file.read_text() + text)
    return file


def test_the_grid_less_what_is_excluded(file: Path) -> None:
    more(file, "overrides: {colours: {seeds: [3, 3]}}\nexclude:\n  - {prompts: mcot, shots: 2}\n")
    (part,) = Planner(*read_sweep(file)).plan()
    assert [(c.prompt, c.shots, c.seed, c.limit) for c in part.cells] == [
        ("standard", 0, 3, 6), ("standard", 2, 3, 6), ("mcot", 0, 3, 6)
    ]  # fmt: skip


def test_a_split_that_is_meant_and_named_is_one(file: Path) -> None:
    (part,) = Planner(*read_sweep(more(file, "splits: [null, test]\n"))).plan()
    assert len(part.cells) == 2 * 2 * 2


def test_what_cannot_be_made_can_be_left_out(file: Path) -> None:
    """A prompt that only one of two tasks has, say."""
    file.write_text(file.read_text().replace("prompts: [standard, mcot]", "prompts: [standard, none_such]"))
    with pytest.raises(KosmosEvalError, match="none_such"):
        Planner(*read_sweep(file)).plan()
    (part,) = Planner(*read_sweep(more(file, "exclude: [{tasks: colours, prompts: none_such}]\n"))).plan()
    assert {cell.prompt for cell in part.cells} == {"standard"}


def test_a_sweep_runs_and_resumes(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = invoke("sweep", file, "--out", out)
    assert first.exit_code == 0, first.output
    assert first.stderr.count(" samples, ") == 8
    again = invoke("sweep", file, "--out", out)
    assert again.stderr.count("was there") == 8
    frame = ke.sweep(file, out=out)
    assert len(frame) == 8 * 3
    assert set(frame["n"]) == {6}


def test_a_sweep_from_python_with_a_loaded_model(file: Path, tmp_path: Path) -> None:
    model = FakeModel(name="mine")
    frame = ke.sweep(
        {"tasks": "colours", "tasks_dir": str(TASKS_DIR), "data": str(tmp_path / "data")}, out=tmp_path, model=model
    )
    assert set(frame["model"]) == {"mine"}
    assert len(model.seen) == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sede: 1\n", ("line 9", "sede", "did you mean 'seeds'")),
        ("exclude:\n  - {prompt: mcot}\n", ("line 10", "exclude.0.prompt", "did you mean 'prompts'")),
        ("exclude:\n  - {prompts: mcott}\n", ("line 10", "exclude.0", "leaves out no run")),
        ("overrides:\n  colors: {shots: 0}\n", ("line 10", "did you mean 'colours'")),
        ("overrides:\n  colours: {shot: 0}\n", ("line 10", "overrides.colours.shot", "did you mean 'shots'")),
        ("overrides:\n  colours: {shots: 40}\n", ("line 10", "40 shots", "only 6")),
        ("overrides:\n  colours: {prompts: mcott}\n", ("line 10", "did you mean 'mcot'")),
        (
            "demos: fixd\n",
            (
                "line 9",
                "demos: ",
                "did you mean 'fixed'",
            ),
        ),
        ("splits: tset\n", ("line 9", "splits: ", "'test'")),
        ("limit: 3\n", ("line 8", "given twice")),
        ("out: &a x\nprompt_files: *a\n", ("alias",)),
        ("out: [\n", ("not readable as YAML",)),
        ("seeds: !!python/object/apply:os.system [ls]\n", ("sweep.yaml",)),
    ],
)
def test_mistakes_are_named(file: Path, text: str, words: tuple[str, ...]) -> None:
    result = invoke("sweep", more(file, text), "--out", file.parent / "out")
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    for word in ("sweep.yaml", *words):
        assert word in line
    assert not (file.parent / "out").exists()


def test_all_tasks_are_those_that_have_data(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("{tasks: all, limit: 1}")
    (part,) = Planner(*read_sweep(path)).plan()
    assert sorted(cell.task.name for cell in part.cells) == sorted(MINI_TASKS)
    path.write_text(f"{{tasks: all, data: {tmp_path}}}")
    with pytest.raises(UsageError, match="no task has data there"):
        Planner(*read_sweep(path)).plan()


def test_a_missing_file_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such sweep file"):
        read_sweep(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(UsageError, match="expected a mapping"):
        read_sweep(tmp_path / "empty.yaml")


def test_interruption_says_how_to_go_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: FakeModel, requests: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeModel, "run", interrupt)
    result = invoke("sweep", file, "--out", file.parent / "out")
    assert result.exit_code == 130
    assert "0 of 8 runs" in result.stderr
    assert "the same command" in result.stderr
