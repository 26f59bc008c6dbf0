"""Scores again: by changed and by new metrics, from the run's folder alone; what they replace is kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from made_up_data import TASKS_DIR, cell, colours, write_colours
from typer.testing import CliRunner

import kosmos_eval as ke
from kosmos_eval.cli import app
from kosmos_eval.metrics.base import ReferenceCorpus
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.run import run
from kosmos_eval.store import HISTORY, REFERENCES, RESPONSES, RunFolder


@dataclass(frozen=True)
class Wrong(ke.Accuracy):
    """The share of wrong answers, under the name of the share of right ones."""

    def compute(self, predictions: list[ke.Prediction]) -> list[ke.Score]:  # type: ignore[override]
        (score,) = super().compute(predictions)
        assert score.value is not None
        return [ke.Score(self.name, 100 - score.value, score.n)]


@dataclass(frozen=True)
class OverSplit(ke.MajorityBaseline):
    name: str = "over_split"

    def with_corpus(self, corpus: ReferenceCorpus) -> OverSplit:
        return self


def test_a_changed_and_a_new_metric(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    folder = run(cell(colours(write_colours(data, {"train": 2, "test": 8}))), FakeModel(), out).folder
    shutil.rmtree(data)
    asked, old = (folder.path / RESPONSES).read_bytes(), folder.scores()
    assert old is not None
    (was,) = (s["value"] for s in old["scores"] if s["primary"])

    frame = ke.rescore(out, metrics=[Wrong()], tasks_dir=TASKS_DIR).set_index("metric")
    assert (frame.loc["accuracy", "before"], frame.loc["accuracy", "after"]) == (was, 100 - was)
    board = ke.leaderboard(out)
    assert board[board["primary"]]["score"].tolist() == [100 - was]
    assert (folder.path / RESPONSES).read_bytes() == asked
    assert [json.loads(line) for line in (folder.path / HISTORY).read_text().splitlines()] == [old]

    told = CliRunner().invoke(app, ["rescore", str(out), "--metric", "ChanceBaseline", "--tasks-dir", str(TASKS_DIR)])
    assert told.exit_code == 0, told.output
    now = folder.scores()
    assert now is not None
    assert {s["metric"]: s["value"] for s in now["scores"]} == {s["metric"]: s["value"] for s in old["scores"]} | {
        "chance": 50.0
    }
    ke.rescore(out, metrics=["ChanceBaseline"], tasks_dir=TASKS_DIR)  # says the same: nothing is replaced
    assert len((folder.path / HISTORY).read_text().splitlines()) == 2


def test_who_is_refused_keeps_its_scores(tmp_path: Path) -> None:
    task = colours(write_colours(tmp_path / "data", {"train": 2, "test": 8}))
    limited, whole = (run(cell(task, limit=limit), FakeModel(), tmp_path).folder.path for limit in (4, None))
    before = RunFolder(limited).scores()
    frame = ke.rescore(tmp_path, metrics=[OverSplit()], tasks_dir=TASKS_DIR)
    (refused,) = frame.attrs["refused"]
    assert refused["run"].endswith(limited.name)
    assert "over_split counts over the whole split" in refused["reason"]
    assert RunFolder(limited).scores() == before
    for damaged in ("{", "[]", '{"a": "b"}', '{"a": [1]}'):
        (limited / REFERENCES).write_text(damaged)
        (refused,) = ke.rescore(tmp_path, metrics=[OverSplit()], tasks_dir=TASKS_DIR).attrs["refused"]
        assert "not a split's references" in refused["reason"]
    (limited / REFERENCES).unlink()
    assert frame["run"].unique().tolist() == [f"runs/{whole.name}"]
    reasons = [r["reason"] for r in ke.rescore(tmp_path).attrs["refused"]]
    assert len(reasons) == 2
    assert all("no task 'colours'" in reason for reason in reasons)


@pytest.mark.parametrize("name", ["Acuracy", "Sample", "Metric", "RocAuc", "nowhere.py:X"])
def test_what_is_no_metric(name: str, tmp_path: Path) -> None:
    with pytest.raises(ke.UsageError, match=r"metric|does not import"):
        ke.rescore(tmp_path, metrics=[name])
