"""VQA accuracy against the official scorer's own output, its quirks one by one, and the VizWiz figures."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos_eval import DataError, Sample, Task
from kosmos_eval.metrics import ConstantBaseline, ExactMatch, Prediction, Unanswerable, VqaAccuracy
from kosmos_eval.metrics.vqa import accuracy, best_constant, clean, credit, normalise

SHARED = Path(os.environ.get("KOSMOS_EVAL_SHARED", Path(__file__).parents[2] / "shared"))
needs_shared = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason=f"no shared data at {SHARED}")

answers = st.sampled_from(["yes", "Yes", "no", "t-shirt", "the t shirt", "2", "two", "1,000", "a dog", "dog.", ""])


def read_json(*parts: str) -> Any:
    return json.loads(SHARED.joinpath("data", *parts).read_text(encoding="utf-8"))


def official_loop(answer: str, annotators: list[str]) -> float:
    """The rule written out as published: every annotator left out once, by index."""
    truths = [clean(text) for text in annotators]
    candidate = clean(answer)
    if len(set(truths)) > 1:
        truths, candidate = [normalise(text) for text in truths], normalise(candidate)
    credits = []
    for left_out in range(len(truths)):
        others = [text for index, text in enumerate(truths) if index != left_out]
        credits.append(min(1.0, others.count(candidate) / 3))
    return sum(credits) / len(credits)


def vqav2_predictions() -> list[Prediction]:
    annotations = read_json("vqav2", "v2_mscoco_train2014_annotations.subset.json")["annotations"]
    results = read_json("vqav2", "metric_parity", "OpenEnded_joined_train_perturbed_results.json")
    texts = {row["question_id"]: row["answer"] for row in results}
    return [
        Prediction(
            str(row["question_id"]),
            text=texts[row["question_id"]],
            target=[answer["answer"] for answer in row["answers"]],
            group=row["answer_type"],
        )
        for row in annotations
        if row["question_id"] in texts
    ]


@needs_shared
def test_equals_the_official_scorer_on_every_question() -> None:
    official = read_json("vqav2", "metric_parity", "joined_train_official_vqaEval_output.json")
    predictions = vqav2_predictions()
    ours = {
        prediction.sample_id: round(100 * values["vqa_accuracy"], 2)
        for prediction, values in zip(predictions, VqaAccuracy().per_sample(predictions), strict=True)
    }
    assert ours == official["evalQA"]
    scores = {score.metric: score for score in VqaAccuracy().compute(predictions)}
    assert round(scores["vqa_accuracy"].value or 0, 2) == official["accuracy"]["overall"]
    for kind, value in official["accuracy"]["perAnswerType"].items():
        assert round(scores[f"vqa_accuracy/{kind.replace('/', '-')}"].value or 0, 2) == value


@needs_shared
def test_always_normalising_scores_no_lower() -> None:
    predictions = vqav2_predictions()
    official = VqaAccuracy().compute(predictions)[0].value
    normalised = VqaAccuracy.normalised().compute(predictions)[0]
    assert normalised.metric == "vqa_accuracy_normalised"
    assert normalised.value is not None
    assert official is not None
    assert normalised.value > official


def vizwiz_predictions(text: str | None) -> list[Prediction]:
    rows = read_json("vizwiz", "val_annotations_vqa_format.json")["annotations"]
    return [
        Prediction(row["image_id"], text, target=[a["answer"] for a in row["answers"]], group=row["question_type"])
        for row in rows
    ]


@needs_shared
def test_vizwiz_constant_unanswerable() -> None:
    predictions = vizwiz_predictions("unanswerable")
    scores = {score.metric: score for score in VqaAccuracy().compute(predictions)}
    overall = scores["vqa_accuracy"]
    assert overall.n == 4319
    assert overall.value == pytest.approx(52.12, abs=0.005)
    baseline = ConstantBaseline.unanswerable().compute(vizwiz_predictions(None))[0]
    assert baseline.value == overall.value
    assert ConstantBaseline().answer_for(predictions) == "unanswerable"
    share, f1 = Unanswerable().compute(predictions)
    assert (share.metric, share.value) == ("unanswerable_predicted", 100.0)
    assert f1.value == pytest.approx(100 * 2 * 1385 / (1385 + 4319))
    assert scores["vqa_accuracy/unanswerable"].n == 1385


@pytest.mark.parametrize(("matches", "expected"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_credit_of_ten(matches: int, expected: float) -> None:
    assert credit(matches, 10) == pytest.approx(expected)


@given(st.integers(0, 12), st.integers(1, 12))
def test_credit_is_the_loop_in_closed_form(matches: int, others: int) -> None:
    annotators = ["x"] * matches + [f"other {index}" for index in range(others)]
    assert credit(matches, len(annotators)) == pytest.approx(official_loop("x", annotators))


@settings(max_examples=200)
@given(answers, st.lists(answers, min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_accuracy_is_the_loop_in_any_order(answer: str, annotators: list[str], random: Any) -> None:
    expected = official_loop(answer, annotators)
    shuffled = list(annotators)
    random.shuffle(shuffled)
    assert accuracy(answer, annotators) == pytest.approx(expected)
    assert accuracy(answer, shuffled) == pytest.approx(expected)
    assert 0 <= expected <= 1


@given(st.text(max_size=60))
def test_normalise_takes_any_text(text: str) -> None:
    found = normalise(text)
    assert not set(found) & set(';/[]"{}()=+\\_-><@`,?!')
    assert found == " ".join(found.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,000", "1000"),
        ("t-shirt", "t shirt"),
        ("1,000 t-shirts", "1000 tshirts"),
        ("10.5", "10.5"),
        (".5", ".5"),
        ("3.", "3"),
        ("U.S.A.", "usa"),
        ("The Dog", "dog"),
        ("a an the", ""),
        ("none", "0"),
        ("Ten", "10"),
        ("dont", "don't"),
        ("somebody'd", "somebodyd"),
        ("Id've", "id've"),
        ("8:00", "8:00"),
        ("yes!", "yes"),
        ("what?\nno", "what no"),
        ("a.b " * 40, " ".join(["ab"] * 32 + ["a.b"] * 8)),
    ],
)
def test_normalise_quirks(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_raw_comparison_where_all_agree() -> None:
    assert accuracy("Yes", ["yes"] * 10) == 0
    assert accuracy("Yes", ["yes"] * 10, always_normalise=True) == 1
    assert accuracy("Yes", ["yes"] * 9 + ["no"]) == 1
    assert accuracy(" yes\n", ["yes"] * 10) == 1
    assert accuracy("yes", ["yes", "yes ", "yes\n"] * 3) == 1


def test_few_annotators_follow_the_formula() -> None:
    assert accuracy("x", ["x"]) == 0
    assert accuracy("x", ["x", "x"]) == pytest.approx(1 / 3)
    assert accuracy("x", ["x"] * 4) == 1


def test_undefined_has_a_reason() -> None:
    for predictions in ([], [Prediction("1", "yes")], [Prediction("1", None, target=["yes"])]):
        for metric in (VqaAccuracy(), VqaAccuracy.normalised()):
            (score,) = metric.compute(predictions)
            assert score.value is None
            assert score.reason
            assert metric.per_sample(predictions) == [{} for _ in predictions]
    assert all(score.value is None and score.reason for score in Unanswerable().compute([]))
    assert ConstantBaseline().compute([Prediction("1", "yes")])[0].reason


@settings(max_examples=50)
@given(
    st.lists(
        st.lists(st.sampled_from(["yes", "Yes", "no", "t-shirt"]), min_size=10, max_size=10)
        | st.sampled_from(["yes", "Yes", "t-shirt", "two"]).map(lambda answer: [answer] * 10),
        min_size=1,
        max_size=6,
    )
)
def test_best_constant_is_best(targets: list[list[str]]) -> None:
    def total(answer: str) -> float:
        return sum(accuracy(answer, target) for target in targets)

    best = best_constant(targets)
    assert best is not None
    assert total(best) == pytest.approx(max(map(total, ["yes", "Yes", "no", "t-shirt", "t shirt", "two", "2"])))


def test_best_constant_needs_answers() -> None:
    assert best_constant([None, "text", []]) is None
    assert Counter([best_constant([["no", "yes"] * 5])]) == {"no": 1}


def test_unanswerable_truth() -> None:
    ten = ["unanswerable"] * 6 + ["dog"] * 4
    flagged = Prediction("1", "Unanswerable.", target=ten, fields={"answerable": 1}, group="unanswerable")
    typed = Prediction("2", "unanswerable", target=["dog"] * 10, group="unanswerable")
    voted = Prediction("3", "dog", target=ten)
    share, f1 = Unanswerable().compute([flagged, typed, voted])
    assert share.value == pytest.approx(200 / 3)
    assert f1.value == pytest.approx(50.0)  # one hit, one false alarm, one miss
    none_there = Unanswerable().compute([Prediction("1", "dog", target=["dog"] * 10)])
    assert none_there[0].value == 0
    assert none_there[1].value is None


def test_a_single_answer_is_refused_by_name_and_never_scored_as_zero(tmp_path: Path) -> None:
    """Leaving out the only annotator leaves nothing to match: 0 whatever is answered."""
    (score,) = VqaAccuracy().compute([Prediction("1", text="blue", target=["blue"])])
    assert score.value is None
    assert "two annotators" in str(score.reason)
    for target in (["blue"], "blue"):
        task = photos(tmp_path, [["red"] * 3, target])
        with pytest.raises(DataError, match=r"sample '1' of split 'test' of photos has one answer.*ExactMatch\(\)"):
            task.samples  # noqa: B018
    assert len(photos(tmp_path, [["red"] * 3, []]).samples) == 2  # no answer: can be asked


def photos(folder: Path, targets: list[Any]) -> Task:
    class Photos(Task):
        name = "photos"
        splits: ClassVar[dict[str, str]] = {"eval": "test"}
        metrics = (VqaAccuracy(),)

        def read(self, data: Path, split: str) -> Iterator[Sample]:
            for number, target in enumerate(targets):
                yield Sample(str(number), (), {}, target=target)

    return Photos(folder)


@pytest.mark.parametrize(
    ("answer", "target", "expected"),
    [
        ("Blue.", "blue", 1), ("a circle", "circle", 1), ("two", "2", 1), ("it is blue", "blue", 0),
        ("cat", ["dog", "Cat"], 1), ("cow", ["dog", "cat"], 0), (None, "blue", None), ("blue", None, None),
    ],
)  # fmt: skip
def test_exact_match_is_of_normal_forms(answer: str | None, target: Any, expected: int | None) -> None:
    prediction = Prediction("1", text=answer, target=target)
    assert ExactMatch().of(prediction) == expected
    (score,) = ExactMatch().compute([prediction])
    assert score.value == (None if expected is None else 100 * expected)


def test_exact_match_of_choices_is_that_of_the_best() -> None:
    assert ExactMatch().of(Prediction("1", scores={" red": -2.0, " Blue": -1.0}, target="blue")) == 1
