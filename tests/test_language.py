"""The language suite: how its items are asked, what they score against Hugging Face's text model, and its average."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from language_data import REAL, TextReference
from shared_data import shared
from typer.testing import CliRunner, Result

from kosmos_eval.api import evaluate, load_task
from kosmos_eval.cell import Cell
from kosmos_eval.cli import app
from kosmos_eval.errors import DataError
from kosmos_eval.models import load_model
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.models.locate import bundled
from kosmos_eval.plugins import prompt_file
from kosmos_eval.prompt import Text
from kosmos_eval.request import Request, Score, assemble
from kosmos_eval.tables import leaderboard

TOLERANCE = 1e-4
QUESTIONS = [
    {"query": "The sun set, therefore ", "choices": ["it was dark.", "<image> it rained."], "gold": 0},
    {"query": "The dog barked because", "choices": ["it slept.", "someone came."], "gold": 1},
    {"query": "The cup broke because", "choices": ["it fell.", "it was full."], "gold": 0},
]
SCHEMAS = [
    {"context_options": ["Ann thanked Eve because Ann", "Ann thanked Eve because Eve"], "continuation": "had helped.",
     "gold": 1},
    {"context_options": ["The box is not in the bag because the box", "The box is not in the bag because the bag"],
     "continuation": "is too large.", "gold": 0},
]  # fmt: skip


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder, "copa", QUESTIONS)
    write(folder, "winograd_wsc", SCHEMAS)
    return folder


def asked(task: str, data: Path, shots: int = 0, limit: int | None = None, demos: str = "fixed") -> list[Request]:
    loaded = load_task(task, data)
    cell = Cell.of(loaded, prompt_file(task), "standard", shots=shots, limit=limit, demos=demos)
    return [request for request, _ in cell.plan(None)]


def pairs(request: Request) -> list[tuple[str, str]]:
    """(everything before, what counts) of each choice, as one text each."""
    (stage,) = request.stages
    assert isinstance(stage.act, Score)
    before = assemble(request, 0, {})
    found = []
    for choice in stage.act.choices:
        segments = [*before, *choice.segments]
        assert all(isinstance(segment, Text) for segment in segments), "what data say is text"
        found.append(("".join(s.text for s in segments if isinstance(s, Text)), choice.target))
    return found


def test_a_question_weighs_its_own_choices(data: Path) -> None:
    first = asked("copa", data)[0]
    assert pairs(first) == [
        ("The sun set, therefore", " it was dark."),
        ("The sun set, therefore", " <image> it rained."),
    ]


def test_a_schema_weighs_one_continuation_behind_its_contexts(data: Path) -> None:
    assert pairs(asked("winograd", data)[0]) == [
        ("Ann thanked Eve because Ann", " had helped."),
        ("Ann thanked Eve because Eve", " had helped."),
    ]


def test_demonstrations_are_right_and_never_the_query(data: Path) -> None:
    for request in asked("winograd", data, shots=1):
        other = {"1": "The box is not in the bag because the box is too large.",
                 "2": "Ann thanked Eve because Eve had helped."}[request.id]  # fmt: skip
        assert all(context.startswith(f"{other}\n\n") for context, _ in pairs(request))
    assert Cell.of(load_task("copa", data), prompt_file("copa"), "standard", shots=1).demos_same_split


def test_demonstrations_come_from_the_train_file_where_there_is_one(data: Path) -> None:
    write(data, "copa_train", [{"query": "It is a train item, therefore", "choices": ["a", "b"], "gold": 1}])
    assert {pairs(r)[0][0].split("\n\n")[0] for r in asked("copa", data, 1)} == {"It is a train item, therefore b"}
    assert not Cell.of(load_task("copa", data), prompt_file("copa"), "standard", shots=1).demos_same_split


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": "a", "choices": ["b", "c"], "gold": 2}, "line 2.*'gold'.*not in 0..1"),
        ({"query": "a", "choices": ["b"], "gold": 0}, "line 2.*it takes two"),
        ({"query": "a", "choices": "bc", "gold": 0}, "line 2.*'choices'"),
        ({"choices": ["b", "c"], "gold": 0}, "line 2.*'query'"),
        ({"context_options": ["b", "c"], "gold": 0}, "line 2.*'continuation'"),
    ],
)
def test_a_broken_item_is_named(data: Path, row: dict[str, Any], message: str) -> None:
    write(data, "copa", [QUESTIONS[0], row])
    with pytest.raises(DataError, match=message):
        _ = load_task("copa", data).samples


def test_the_best_weighed_choice_is_the_answer(data: Path) -> None:
    found = evaluate(FakeModel(), load_task("copa", data))
    scores, targets = found.samples["choice_logprobs"], found.samples["target"]
    right = [max(s, key=s.__getitem__) == str(t) for s, t in zip(scores, targets, strict=True)]
    assert found.metrics["accuracy"] == pytest.approx(100 * sum(right) / 3)
    assert found.metrics["chance"] == pytest.approx(50)


def test_the_average_is_unweighted_and_says_of_what(data: Path, tmp_path: Path) -> None:
    parts = [evaluate(FakeModel(), load_task(t, data), out=tmp_path).metrics["accuracy"] for t in ("copa", "winograd")]
    (row,) = (r for r in leaderboard(tmp_path).to_dict("records") if str(r["task"]).startswith("language"))
    assert row["task"] == "language_average (2 of 8)"
    assert row["score"] == pytest.approx(sum(filter(None, parts)) / 2)
    assert (row["n"], row["data_source"], row["rule"]) == (5, "subset", "unweighted mean of copa, winograd")


def test_what_does_not_fit_has_no_average(data: Path, tmp_path: Path) -> None:
    evaluate(FakeModel(refuse=lambda request: request.id == "3"), load_task("copa", data), out=tmp_path)
    evaluate(FakeModel(), load_task("winograd", data), out=tmp_path)
    (row,) = (r for r in leaderboard(tmp_path).to_dict("records") if str(r["task"]).startswith("language"))
    assert row["score"] != row["score"]
    assert row["reason"] == "no score of copa"


def test_one_item_each_has_an_average_without_an_error(data: Path, tmp_path: Path) -> None:
    for task in ("copa", "winograd"):
        evaluate(FakeModel(), load_task(task, data), limit=1, out=tmp_path)
    (row,) = (r for r in leaderboard(tmp_path).to_dict("records") if str(r["task"]).startswith("language"))
    assert row["score"] == row["score"]
    assert row["stderr"] != row["stderr"]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_command_runs_what_is_there(data: Path, tmp_path: Path) -> None:
    result = invoke("language", "--data", data, "--shots", "0,1", "--model", "fake", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "winograd standard 1-shot" in result.output
    assert "language_average (2 of 8)" in result.stdout


def test_the_command_says_which_files_it_wants(tmp_path: Path) -> None:
    result = invoke("language", "--data", tmp_path, "--model", "fake", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "piqa.jsonl of {query" in result.stderr


@pytest.mark.parametrize("shots", [0, pytest.param(4, marks=pytest.mark.slow)])
def test_real_items_score_as_under_hugging_face(shots: int) -> None:
    folder = shared("language")
    model = load_model("kosmos-mini", "cpu", "float32")
    reference = TextReference(bundled("kosmos-mini"))
    for name in REAL:
        requests = asked({"winograd_wsc": "winograd"}.get(name, name), folder, shots, limit=3, demos="random")
        responses = dict(model.run(iter(requests)))
        assert len(responses) == 3
        for index, request in enumerate(requests):
            if not responses[index].fits:
                assert "positions" in str(responses[index].error)
                continue
            found = [choice.logprob for choice in responses[index].stages[-1].choices]
            expected = [reference.score(*pair)[0] for pair in pairs(request)]
            assert found == pytest.approx(expected, abs=TOLERANCE), (name, request.id)
