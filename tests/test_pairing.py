"""Which runs are compared: what each is called, and that every task finds its baseline."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import hateful_memes
from made_up_data import TASKS_DIR, colours, write_colours

from kosmos_eval.api import evaluate, load_task
from kosmos_eval.comparison import compare
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.tables import leaderboard
from kosmos_eval.task import Task


@pytest.fixture
def tasks(tmp_path: Path) -> tuple[Task, Task]:
    squares = colours(write_colours(tmp_path / "colours", {"train": 2, "test": 4}))
    return squares, load_task("hateful_memes", data=hateful_memes(tmp_path / "memes"))


def test_wordings_are_counted_within_a_task(tasks: tuple[Task, Task], tmp_path: Path) -> None:
    squares, memes = tasks
    out = tmp_path / "out"
    for prompt in ("standard", "mcot"):
        evaluate(FakeModel(), squares, prompt, prompts=TASKS_DIR, out=out)
        evaluate(FakeModel(), memes, prompt, out=out)
    frame = compare(out, "prompt")
    assert set(zip(frame["task"], frame["baseline"], frame["variant"], strict=True)) == {
        ("colours", "standard", "mcot"),
        ("hateful_memes", "standard", "mcot"),
    }
    other = tmp_path / "other"
    other.mkdir()
    wording = (TASKS_DIR / "colours.yaml").read_text()
    (other / "colours.yaml").write_text(wording.replace("Look:", "Look well:"))
    evaluate(FakeModel(), squares, "mcot", prompts=other, out=out / "other")
    frame = compare(out, "prompt")
    named = {task: set(rows["variant"]) for task, rows in frame.groupby("task")}
    assert named["hateful_memes"] == {"mcot"}
    assert len(named["colours"]) == 2
    assert all(name.startswith("mcot@") for name in named["colours"])


def test_no_shots_are_compared_with_demonstrations_however_chosen(tasks: tuple[Task, Task], tmp_path: Path) -> None:
    squares, _ = tasks
    for shots, demos in ((0, "fixed"), (1, "random"), (2, "random"), (2, "fixed"), (2, "balanced")):
        evaluate(FakeModel(), squares, prompts=TASKS_DIR, shots=shots, demos=demos, out=tmp_path)
    frame = compare(tmp_path, "shots")
    assert sorted(zip(frame["baseline"], frame["variant"], strict=True)) == [("0", "1"), *[("0", "2")] * 3]
    assert not len(frame.attrs["unpaired"])


def test_other_demonstrations_under_the_same_names_are_other_runs(tmp_path: Path) -> None:
    counts = {"train": 6, "test": 4}
    plain, told = (colours(write_colours(tmp_path / name, counts, name == "told")) for name in ("plain", "told"))
    (told.data / "test.json").write_text((plain.data / "test.json").read_text())  # only demonstrations differ
    for prompt in ("standard", "mcot"):
        evaluate(FakeModel(), plain, prompt, prompts=TASKS_DIR, shots=2, out=tmp_path / "out")
    evaluate(FakeModel(), told, "mcot", prompts=TASKS_DIR, shots=2, out=tmp_path / "out" / "told")
    frame = compare(tmp_path / "out", "prompt")
    assert list(frame["variant"]) == ["mcot (model rationales)"]
    assert "told" not in frame["run_variant"].iloc[0]
    (unpaired,) = frame.attrs["unpaired"]
    assert "pool of demonstrations" in unpaired["reason"]
    board = leaderboard(tmp_path / "out")
    marked = board[board["primary"] & (board["prompt"] == "mcot")]
    assert len(marked) == marked["demos"].nunique() == 2
    assert marked["demos"].str.startswith("fixed@").all()


def test_weights_and_wordings_that_are_not_compared_are_told_apart(tasks: tuple[Task, Task], tmp_path: Path) -> None:
    squares, _ = tasks
    for fingerprint in ("aaaa", "bbbb"):
        for prompt in ("standard", "mcot"):
            evaluate(FakeModel(fingerprint=fingerprint), squares, prompt, prompts=TASKS_DIR, out=tmp_path)
    assert list(compare(tmp_path, "prompt")["model"]) == ["fake@aaaa", "fake@bbbb"]


def test_weights_have_one_name_in_all_tasks(tasks: tuple[Task, Task], tmp_path: Path) -> None:
    squares, memes = tasks
    for fingerprint in ("aaaa", "bbbb"):
        evaluate(FakeModel(fingerprint=fingerprint), squares, prompts=TASKS_DIR, out=tmp_path / "out")
    for name, fingerprint in (("fake", "aaaa"), ("other", "cccc")):
        evaluate(FakeModel(name=name, fingerprint=fingerprint), memes, out=tmp_path / "out")
    frame = compare(tmp_path / "out", "model")
    assert set(zip(frame["task"], frame["baseline"], frame["variant"], strict=True)) == {
        ("colours", "fake@aaaa", "fake@bbbb"),
        ("hateful_memes", "fake@aaaa", "other"),
    }
