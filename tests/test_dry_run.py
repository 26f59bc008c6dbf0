"""The forecast of a sweep against the sweep: counts are those of the runs, tokens those that the engine computes."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import builders
import pytest
from made_up_data import TASKS_DIR, write_colours
from typer.testing import CliRunner

import kosmos_eval as ke
from kosmos_eval import work
from kosmos_eval.cell import Cell
from kosmos_eval.cli import app
from kosmos_eval.engine.tally import tally
from kosmos_eval.models import load_model
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.models.locate import bundled
from kosmos_eval.plugins import prompt_file
from kosmos_eval.prompt import Image
from kosmos_eval.request import Request, images_of

ABSENT = not (bundled("kosmos-mini") / "config.json").is_file()
needs_mini = pytest.mark.skipif(ABSENT, reason="the bundled checkpoint is absent")


@pytest.fixture
def grid(tmp_path: Path) -> dict[str, object]:
    data = write_colours(tmp_path / "data", {"train": 6, "test": 8})
    return {"tasks": "colours", "tasks_dir": str(TASKS_DIR), "data": str(data), "prompts": ["standard", "mcot"],
            "shots": [0, 2], "models": "fake"}  # fmt: skip


def test_what_is_stored_is_counted_and_nothing_is_written(grid: dict[str, object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = ke.dry_run(grid, out=out)
    assert not out.exists()
    assert list(before["stored"]) == [0, 0, 0, 0]
    assert before["seconds"].isna().all()
    model = FakeModel(check_images=True)
    ke.sweep({**grid, "limit": 5}, out=out, model=model)
    pilot = set(out.rglob("*"))
    assert len(model.seen) == ke.dry_run({**grid, "limit": 5}, out=out)["requests"].sum()
    whole = ke.dry_run(grid, out=out)
    assert list(whole["stored"]) == [0, 0, 0, 0]  # a limit makes a run of its own
    assert (whole["seconds"] > 0).all()
    assert set(out.rglob("*")) == pilot
    ke.sweep({**grid, "prompts": "standard"}, out=out)
    after = ke.dry_run(grid, out=out).set_index(["prompt", "shots"])
    assert list(after.loc["standard", "stored"]) == list(after.loc["standard", "requests"]) == [8, 8]
    assert list(after.loc["standard", "seconds"]) == [0, 0]
    assert list(after.loc["mcot", "stored"]) == [0, 0]
    # Rationales that were written before the answers were not: they are stored requests, too.
    with pytest.raises(BaseException, match="told to crash"):
        ke.sweep({**grid, "prompts": "mcot"}, out=out, model=FakeModel(check_images=True, crash_after=2))
    assert ke.dry_run(grid, out=out).set_index(["prompt", "shots"]).loc[("mcot", 2), "stored"] == 2


def test_demonstrations_that_are_yet_to_be_retrieved_are_an_estimate(grid: dict[str, object], tmp_path: Path) -> None:
    drawn = {**grid, "demos": "random", "prompts": "standard", "shots": 2}
    ke.sweep(drawn, out=tmp_path)
    (known,) = ke.dry_run(drawn, out=tmp_path).to_dict("records")
    (found,) = ke.dry_run({**drawn, "demos": "rices"}, out=tmp_path).to_dict("records")
    assert (found["demos"], found["stored"], found["exact"]) == ("rices", 0, False)
    assert (found["requests"], found["images"]) == (known["requests"], known["images"])


@pytest.mark.parametrize("layout", [builders.raven_iq50, builders.raven_npz])
def test_pictures_of_puzzles_are_counted_one_by_one(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    grid = {"tasks": "raven_iq", "data": str(layout(tmp_path / "data")), "shots": 1, "models": "fake"}
    (found,) = ke.dry_run(grid, out=tmp_path / "out").to_dict("records")
    shown: set[Image] = set()
    seeing = FakeModel(refuse=lambda request: shown.update(images_of(request)) is True)
    ke.sweep(grid, out=tmp_path / "out", model=seeing)
    assert found["images"] == len(shown)


def test_the_command_tells_what_is_not_known(grid: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps(grid))
    told = CliRunner().invoke(app, ["sweep", str(file), "--out", str(tmp_path / "out"), "--dry-run"])
    assert told.exit_code == 0, told.output
    assert "4, 0 of them complete" in told.output
    assert "tokenizer is not a KOSMOS one" in told.output
    assert "4 runs have no earlier run" in told.output
    assert not (tmp_path / "out").exists()


@needs_mini
@pytest.mark.parametrize("task", ["rendered_sst2", "vqav2", "raven_iq"])
def test_tokens_are_what_the_engine_computes(task: str) -> None:
    """Up to what is written, which no plan can know, and a position where a text ends and the next stage begins."""
    model = load_model("kosmos-mini", device="cpu", dtype="float32")
    over, prompts = ke.load_task(task), prompt_file(task, None, None)
    cells = [
        Cell.of(over, prompts, name, shots=k, limit=3) for name, k in (("standard", 0), ("standard", 2), ("mcot", 0))
    ]
    requests = [r for found in zip(*(c.plan(None) for c in cells), strict=True) for r, _ in found]

    def computed(asked: list[Request]) -> int:
        """Positions, less those of what was written."""
        before, written = model.engine.runner.computed, 0
        for _, response in model.run(asked):
            assert response.error is None
            written += sum(len(s.generated.ids) for s in response.stages if s.generated)
        return model.engine.runner.computed - before - written

    counted = tally(requests, model.processor)
    ends = sum(len(r.stages) for r in requests)
    assert sum(t.shared for t in counted) == pytest.approx(computed(requests), abs=ends)
    for request, count in zip(requests, counted, strict=True):
        assert count.alone == pytest.approx(computed([request]), abs=len(request.stages))
    assert sum(t.shared for t in counted) < 0.9 * sum(t.alone for t in counted)


@needs_mini
def test_a_part_of_the_plan_tells_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "UNIT_REQUESTS", 128)
    asked = {"tasks": "vqav2", "prompts": ["standard", "mcot"], "shots": [0, 2], "limit": 200}
    frame = ke.dry_run(asked, out=tmp_path)
    assert not frame["exact"].any()
    task, prompts = ke.load_task("vqav2"), prompt_file("vqav2", None, None)
    cell = Cell.of(task, prompts, "standard", shots=2, limit=200)
    processor = load_model("kosmos-mini", device="cpu", dtype="float32").processor
    alone = sum(t.alone for t in tally([r for r, _ in cell.plan(None)], processor))
    row = frame.set_index(["prompt", "shots"]).loc[("standard", 2)]
    assert row["tokens_alone"] == pytest.approx(alone, rel=0.02)


def write_vqav2(folder: Path, split: str, count: int) -> None:
    """Question and annotation files of the official layout and size, with no pictures, from a vocabulary of ours."""
    rng = random.Random(split)
    words = (
        "which",
        "colour",
        "has",
        "the",
        "round",
        "square",
        "thing",
        "left",
        "right",
        "of",
        "a",
        "door",
        "two",
        "far",
    )
    answers = ("yes", "no", "two", "red", "blue", "on the left", "a round one", "none", "seven", "wood")
    questions, annotations = [], []
    for i in range(count):
        ids = {"image_id": 9 + 3 * (i // 5), "question_id": (9 + 3 * (i // 5)) * 1000 + i % 5}
        given = rng.choices(answers, k=10)
        questions.append({**ids, "question": " ".join(rng.choices(words, k=rng.randint(4, 9))) + "?"})
        annotations.append({
            **ids, "question_type": "which", "answer_type": "other", "multiple_choice_answer": given[0],
            "answers": [{"answer": a, "answer_confidence": "yes", "answer_id": k} for k, a in enumerate(given, 1)],
        })  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for stem, key, rows in (("v2_OpenEnded_mscoco_{}_questions", "questions", questions),
                            ("v2_mscoco_{}_annotations", "annotations", annotations)):  # fmt: skip
        (folder / f"{stem.format(split)}.json").write_text(json.dumps({"info": {"version": "2.0"}, key: rows}))


@needs_mini
@pytest.mark.slow
def test_the_full_official_grid(tmp_path: Path) -> None:
    """VQAv2 val, 4 shots, two prompts: under 60 s of processor time and 2 GiB, without a picture."""
    write_vqav2(tmp_path / "vqav2", "val2014", 214_354)
    file = tmp_path / "sweep.yaml"
    file.write_text(f"{{tasks: vqav2, data: {tmp_path}, prompts: [standard, mcot], shots: 4}}")
    command = [sys.executable, "-m", "kosmos_eval.cli", "sweep", str(file), "--out", str(tmp_path / "out"), "--dry-run"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    print(f"{seconds:.1f} s, {used.ru_maxrss / 2**20:.2f} GiB\n{told}")
    assert "428,708" in told
    assert seconds < 60
    assert used.ru_maxrss < 2 * 2**20  # KiB
    assert not (tmp_path / "out").exists()
