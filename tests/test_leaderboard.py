"""Tables: the named columns, one row a key, undefined figures, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import builders
import pandas as pd
import pytest
from made_up_data import cell, colours, write_colours

import kosmos_eval as ke
from kosmos_eval.errors import UsageError
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.plugins import builtin_root
from kosmos_eval.run import run
from kosmos_eval.tables import COLUMNS, KEY, leaderboard, write_csv
from kosmos_eval.tables.board_parts import board_parts
from kosmos_eval.task import Task

NAMED = [
    "model",
    "task",
    "prompt",
    "shots",
    "demos",
    "seed",
    "split",
    "data",
    "metric",
    "score",
    "n",
    "failed",
    "primary",
]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return colours(write_colours(tmp_path_factory.mktemp("colours"), {"train": 6, "test": 8}))


def test_columns_and_one_row_a_key(task: Task, tmp_path: Path) -> None:
    for prompt in ("standard", "mcot"):
        for shots in (0, 2):
            run(cell(task, prompt, shots=shots), FakeModel(), tmp_path)
            run(cell(task, prompt, shots=shots, limit=4), FakeModel(), tmp_path)
    frame = ke.leaderboard(tmp_path)
    assert list(frame.columns) == list(COLUMNS)
    assert list(frame.columns)[:13] == NAMED
    assert len(frame) == 4 * 3
    assert not frame.duplicated(list(KEY)).any()
    assert set(frame["n"]) == {8}
    assert frame.groupby(["prompt", "shots"])["primary"].sum().eq(1).all()
    assert list(frame[frame["primary"]]["prompt"]) == ["standard", "mcot"] * 2
    assert frame["score"].between(0, 100).all()


def test_undefined_metric_is_empty_with_a_reason(task: Task, tmp_path: Path) -> None:
    run(cell(task, limit=1), FakeModel(), tmp_path)
    run(cell(task, shots=1), FakeModel(refuse=lambda request: True), tmp_path)
    frame = leaderboard(tmp_path)
    auc = frame[(frame["metric"] == "roc_auc") & (frame["shots"] == 0)].iloc[0]
    assert pd.isna(auc["score"])
    assert auc["reason"]
    unfit = frame[frame["shots"] == 1]
    assert unfit["score"].isna().all()
    assert unfit["reason"].str.startswith("does not fit: ").all()
    assert (unfit["failed"] == 8).all()
    write_csv(frame, tmp_path / "l.csv")
    with (tmp_path / "l.csv").open() as file:
        rows = {(r["metric"], r["shots"]): r for r in csv.DictReader(file)}
    assert rows["roc_auc", "0"]["score"] == ""


def test_a_reason_names_a_seed_only_where_seeds_differ(task: Task, tmp_path: Path) -> None:
    for seed in (0, 1):
        run(cell(task, shots=1, seed=seed), FakeModel(refuse=lambda request: True), tmp_path / "both")
        run(cell(task, shots=1, seed=seed), FakeModel(refuse=lambda request: bool(seed)), tmp_path / "one")  # noqa: B023
    both, one = (leaderboard(tmp_path / name).set_index("metric")["reason"]["roc_auc"] for name in ("both", "one"))
    assert both.startswith("does not fit: ")
    assert one.startswith("seed 1: ")


def test_models_of_one_name_are_told_apart(task: Task, tmp_path: Path) -> None:
    run(cell(task), FakeModel(fingerprint="aaaa"), tmp_path)
    run(cell(task), FakeModel(fingerprint="bbbb"), tmp_path)
    assert set(leaderboard(tmp_path)["model"]) == {"fake@aaaa", "fake@bbbb"}


def test_what_has_one_name_is_told_apart_under_other_seeds_too(task: Task, tmp_path: Path) -> None:
    for seed, fingerprint in ((0, "aaaa"), (1, "aaaa"), (0, "bbbb")):
        run(cell(task, shots=1, seed=seed), FakeModel(fingerprint=fingerprint), tmp_path)
    board = leaderboard(tmp_path)
    assert set(zip(board["model"], board["seed"], strict=True)) == {("fake@aaaa", "0,1"), ("fake@bbbb", 0)}


def test_a_limit_of_the_whole_split_hides_no_seed(task: Task, tmp_path: Path) -> None:
    run(cell(task, shots=1, limit=8), FakeModel(), tmp_path)
    for seed in (0, 1):
        run(cell(task, shots=1, seed=seed), FakeModel(), tmp_path)
    assert set(leaderboard(tmp_path)["seed"]) == {"0,1"}


def test_demonstrations_of_the_same_split_are_marked(tmp_path: Path) -> None:
    same = colours(write_colours(tmp_path / "data", {"train": 5, "test": 1}), split="train")
    run(cell(same, shots=1), FakeModel(), tmp_path / "out")
    assert set(leaderboard(tmp_path / "out")["demos"]) == {"fixed (same split)"}


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "\r\n=1"])
def test_formulas_are_neutralised_and_numbers_stay(evil: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"model": [evil, "fine"], "score": [-1.5, 2.0], "reason": [None, evil]})
    write_csv(frame, tmp_path / "l.csv")
    back = pd.read_csv(tmp_path / "l.csv", keep_default_na=False)
    assert back["model"][0].startswith("'")
    assert back["model"][1] == "fine"
    assert back["reason"][0] == ""
    assert [float(x) for x in back["score"]] == [-1.5, 2.0]


def test_unfinished_runs_are_counted_not_shown(task: Task, tmp_path: Path) -> None:
    folder = run(cell(task), FakeModel(), tmp_path).folder.path
    plain: dict[str, Any] = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**plain, "status": "running"}))
    frame = leaderboard(tmp_path)
    assert frame.empty
    assert frame.attrs["unfinished"] == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="no runs"):
        leaderboard(empty)


def test_tables_keep_kinds_of_data_apart(task: Task, tmp_path: Path) -> None:
    run(cell(task), FakeModel(), tmp_path)
    frame = leaderboard(tmp_path)
    both = pd.concat([frame, frame.assign(data="mini")])
    titles = [part.title.split(" (")[0] for part in board_parts(both)]
    assert titles == [
        title
        for data in ("local", "mini")
        for title in (f"colours, accuracy on test, data: {data}", f"data: {data}, other metrics")
    ]


def test_published_figures_have_a_source_and_a_confidence() -> None:
    frame = pd.read_csv(builtin_root() / "results" / "published.csv")
    assert list(frame.columns) == [
        "model",
        "task",
        "prompt",
        "shots",
        "split",
        "metric",
        "score",
        "source",
        "confidence",
        "note",
    ]
    assert not frame.duplicated(["model", "task", "prompt", "shots", "split", "metric"]).any()
    assert set(frame["confidence"]) == {"C", "X", "M"}
    assert frame["source"].notna().all()
    assert frame["score"].between(0, 200).all()
    kosmos = frame[frame["model"] == "KOSMOS-1"]
    assert set(kosmos["task"]) >= {
        "rendered_sst2", "hateful_memes", "vqav2", "flickr30k", "coco_captions", "vizwiz", "raven_iq",
    }  # fmt: skip
    sst2 = kosmos[kosmos["task"] == "rendered_sst2"].set_index("prompt")["score"]
    assert sst2["mcot"] - sst2["standard"] == pytest.approx(5.8)


@pytest.mark.parametrize("limit", [2, 3])
def test_one_sample_of_a_class_leaves_the_area_without_an_error(limit: int, tmp_path: Path) -> None:
    memes = ke.load_task("hateful_memes", data=builders.hateful_memes(tmp_path / "memes"))
    for prompt in ("standard", "mcot"):
        ke.evaluate(FakeModel(), memes, prompt, limit=limit, out=tmp_path / "out")
    frame = ke.leaderboard(tmp_path / "out")
    area = frame[frame["metric"] == "roc_auc"]
    assert area["score"].notna().all()
    assert area[["stderr", "low", "high", "vs_standard_p"]].isna().all().all()
    assert not len(ke.compare(tmp_path / "out", "prompt", metric="roc_auc"))


def test_puzzles_of_another_set_are_no_part_of_iq50(tmp_path: Path) -> None:
    for name, source in (("raven_iq50", "subset"), ("raven_npz", "local")):
        task = ke.load_task("raven_iq", data=getattr(builders, name)(tmp_path / name))
        assert ke.evaluate(FakeModel(), task, out=tmp_path / f"{name}-out").manifest["official_count"] in (0, 50)
        assert set(ke.leaderboard(tmp_path / f"{name}-out")["data_source"]) == {source}
