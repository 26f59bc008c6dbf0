"""Comparisons of runs: who is paired with whom, who is not and why, and figures that come from the samples."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
from made_up_data import cell, colours, write_colours

import kosmos_eval as ke
from kosmos_eval.errors import UsageError
from kosmos_eval.metrics.statistics import mcnemar
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.request import Request, Response
from kosmos_eval.run import run
from kosmos_eval.store import RunFolder
from kosmos_eval.tables.published import why_not
from kosmos_eval.task import Task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return colours(write_colours(tmp_path_factory.mktemp("colours"), {"train": 6, "test": 24}))


def test_prompts_are_paired_sample_by_sample(task: Task, tmp_path: Path) -> None:
    folders = {p: run(cell(task, p), FakeModel(), tmp_path).folder.path for p in ("standard", "mcot")}
    values = {p: RunFolder(path).per_sample() for p, path in folders.items()}
    ids = list(values["standard"])
    a, b = ([values[p][i]["accuracy"] for i in ids] for p in ("standard", "mcot"))
    (row,) = ke.compare(tmp_path, by="prompt").to_dict("records")
    assert (row["baseline"], row["variant"], row["n"], row["excluded"]) == ("standard", "mcot", 24, 0)
    assert row["difference"] == pytest.approx(100 * (sum(b) - sum(a)) / 24)
    assert row["only_baseline"] == sum(x > y for x, y in zip(a, b, strict=True))
    assert row["both_right"] + row["only_baseline"] + row["only_variant"] + row["both_wrong"] == 24
    assert row["p"] == row["p_holm"] == mcnemar(row["only_baseline"], row["only_variant"])
    board = ke.leaderboard(tmp_path)
    shown = board[(board["prompt"] == "mcot") & board["primary"]].iloc[0]
    assert (shown["vs_standard"], shown["vs_standard_p"]) == (row["difference"], row["p"])
    (turned,) = ke.compare(tmp_path, by="prompt", baseline="mcot").to_dict("records")
    assert (turned["difference"], turned["p"]) == (-row["difference"], row["p"])


def test_what_differs_in_more_is_not_compared(task: Task, tmp_path: Path) -> None:
    run(cell(task, "standard"), FakeModel(), tmp_path)
    run(cell(task, "mcot", limit=8), FakeModel(), tmp_path)
    frame = ke.compare(tmp_path, by="prompt")
    assert frame.empty
    reasons = {u["run"].split(".")[1]: u["reason"] for u in frame.attrs["unpaired"]}
    assert set(reasons) == {"standard", "mcot"}
    assert "samples (--limit)" in reasons["mcot"]


def test_seeds_are_pooled_by_sample_or_apart(task: Task, tmp_path: Path) -> None:
    for seed in (0, 1):
        for prompt in ("standard", "mcot"):
            run(cell(task, prompt, shots=1, seed=seed), FakeModel(), tmp_path)
    (pooled,) = ke.compare(tmp_path, by="prompt").to_dict("records")
    apart = ke.compare(tmp_path, by="prompt", per_seed=True)
    assert (pooled["seed"], pooled["seeds"], pooled["n"], pooled["test"]) == ("0,1", 2, 24, "sign flips")
    assert pooled["difference"] == pytest.approx(apart["difference"].mean())
    assert list(apart["seed"]) == ["0", "1"]
    board = ke.leaderboard(tmp_path)
    assert set(board["seed"]) == {"0,1"}
    assert len(ke.leaderboard(tmp_path, per_seed=True)) == 2 * len(board)


def test_a_run_whose_score_is_undefined_is_not_compared(task: Task, tmp_path: Path) -> None:
    run(cell(task, "standard"), FakeModel(), tmp_path)
    refused = {sample.id for sample in task.samples[:3]}
    run(cell(task, "mcot"), FakeModel(refuse=lambda request: request.id in refused), tmp_path)
    frame = ke.compare(tmp_path, by="prompt")
    assert frame.empty
    (unpaired,) = frame.attrs["unpaired"]
    assert "accuracy is undefined" in unpaired["reason"]
    assert "does not fit" in unpaired["reason"]


class Forgetful(FakeModel):
    """Answers only some samples."""

    def __init__(self, only: set[str]) -> None:
        super().__init__()
        self.only = only

    def _respond(self, request: Request) -> Response:
        return super()._respond(request) if request.id in self.only else Response(request.id, error="broken")


def test_an_area_needs_both_classes_under_each_seed(task: Task, tmp_path: Path) -> None:
    reds, blues = ({s.id for s in task.samples if s.label == colour} for colour in ("red", "blue"))
    for prompt, one in (("standard", min(blues)), ("mcot_plain", max(blues))):
        run(cell(task, prompt, shots=1), FakeModel(), tmp_path)
        run(cell(task, prompt, shots=1, seed=1), Forgetful(reds | {one}), tmp_path)  # together they answered reds alone
    board = ke.leaderboard(tmp_path)
    assert board[board["metric"] == "roc_auc"]["vs_standard"].isna().all()
    frame = ke.compare(tmp_path, by="prompt", metric="roc_auc")
    assert frame.empty
    assert "of one class under one of the seeds" in frame.attrs["unpaired"][0]["reason"]
    (row,) = ke.compare(tmp_path, by="prompt").to_dict("records")
    assert row["excluded"] == 24 - len(reds)


def test_mistaken_arguments(task: Task, tmp_path: Path) -> None:
    run(cell(task, "mcot"), FakeModel(), tmp_path)
    with pytest.raises(UsageError, match=r"--by 'promt'.*prompt"):
        ke.compare(tmp_path, by="promt")
    with pytest.raises(UsageError, match="name the --baseline: mcot"):
        ke.compare(tmp_path, by="prompt")
    with pytest.raises(UsageError, match="--baseline 'oracle'"):
        ke.compare(tmp_path, by="prompt", baseline="oracle")


def test_shots_and_seeds_are_compared(task: Task, tmp_path: Path) -> None:
    for shots, seed in ((0, 0), (2, 0), (2, 1)):
        run(cell(task, shots=shots, seed=seed), FakeModel(), tmp_path)
    (by_shots,) = ke.compare(tmp_path, by="shots").to_dict("records")
    assert (by_shots["baseline"], by_shots["variant"], by_shots["seed"], by_shots["n"]) == ("0", "2", "0", 24)
    (by_seed,) = ke.compare(tmp_path, by="seed").to_dict("records")
    assert (by_seed["baseline"], by_seed["variant"], by_seed["shots"], by_seed["n"]) == ("0", "1", 2, 24)
    scores = {(r["shots"], r["seed"]): r["score"] for r in _primary(tmp_path)}
    assert by_shots["difference"] == pytest.approx(scores[2, 0] - scores[0, 0])
    assert by_seed["difference"] == pytest.approx(scores[2, 1] - scores[2, 0])


def _primary(folder: Path) -> list[dict[Hashable, Any]]:
    board = ke.leaderboard(folder, per_seed=True)
    return board[board["primary"]].to_dict("records")


def test_a_published_figure_says_why_it_does_not_compare() -> None:
    paper = {"split": "test-dev"}
    official = {"data_source": "official", "split": "test-dev2015"}
    assert why_not(paper, [official]) == ""
    assert why_not(paper, [{**official, "data_source": "mini"}]) == "here are mini data"
    assert why_not(paper, [{**official, "split": "val2014"}]) == "theirs is test-dev, here is val2014"
    assert why_not(paper, [{**official, "data_source": "subset"}, official]) == ""
