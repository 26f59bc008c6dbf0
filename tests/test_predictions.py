"""A run's answers as a results file: scored, it gives what the run gave, and it is what servers take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import builders
import pytest
from typer.testing import CliRunner

import kosmos_eval as ke
from kosmos_eval.cli import app
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.score import score_file


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("vqav2", {"question_id": 10000, "answer": "red"}),
        ("vizwiz", {"image": "VizWiz_val_00000000.jpg", "answer": "red"}),
        ("coco_captions", None),
        ("hateful_memes", None),
        ("rendered_sst2", None),
    ],
)
def test_what_is_exported_scores_as_the_run_did(task: str, row: dict[str, Any] | None, tmp_path: Path) -> None:
    loaded = ke.load_task(task, data=getattr(builders, task)(tmp_path / "data"))
    done = ke.evaluate(FakeModel(answer=lambda request, stage, sequence: " red"), loaded, out=tmp_path / "out")
    file = tmp_path / "results.json"
    told = CliRunner().invoke(app, ["export", "predictions", str(done.path), "--out", str(file)])
    assert told.exit_code == 0, told.output
    if row is not None:
        assert json.loads(file.read_text())[0] == row
    found = score_file(loaded.samples, loaded.metrics, file, answers=loaded.answers)
    assert {s.metric: s.value for s in found} == {s.metric: s.value for s in done.scores}


def test_a_run_that_lost_samples_is_neither_exported_nor_scored_again(tmp_path: Path) -> None:
    loaded = ke.load_task("vqav2", data=builders.vqav2(tmp_path / "data"))
    done = ke.evaluate(FakeModel(), loaded, out=tmp_path / "out")
    samples = done.path / "samples.jsonl"
    samples.write_text("".join(samples.read_text().splitlines(keepends=True)[:-1]))
    export = ["export", "predictions", str(done.path), "--out", str(tmp_path / "f")]
    for command in (export, ["rescore", str(done.path)]):
        told = CliRunner().invoke(app, command)
        assert f"of the run's {len(loaded.samples)} samples" in " ".join(told.output.split())
    assert not (tmp_path / "f").exists()
    again = ke.evaluate(FakeModel(), loaded, out=tmp_path / "out")
    assert len(samples.read_text().splitlines()) == len(loaded.samples) == again.scores[0].n


def test_answers_of_a_test_split_are_there_and_what_failed_is_named(tmp_path: Path) -> None:
    data = builders.vqav2(tmp_path / "data")
    (data / "v2_OpenEnded_mscoco_val2014_questions.json").rename(data / "v2_OpenEnded_mscoco_test2015_questions.json")
    (data / "val2014").rename(data / "test2015")
    for path in (data / "test2015").iterdir():
        path.rename(path.with_name(path.name.replace("val2014", "test2015")))
    loaded = ke.load_task("vqav2", data=data, split="test2015")
    done = ke.evaluate(FakeModel(refuse=lambda request: request.id == "11000"), loaded, out=tmp_path / "out")
    command = ["export", "predictions", str(done.path), "--out", str(tmp_path / "results.json")]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 2
    assert "1 of 4 samples have no answer, '11000' first" in told.output
    assert CliRunner().invoke(app, [*command, "--partial"]).exit_code == 0
    assert [row["question_id"] for row in json.loads((tmp_path / "results.json").read_text())] == [10000, 12000, 13000]
