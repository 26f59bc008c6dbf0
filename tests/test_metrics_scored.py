"""Accuracy, ROC AUC, chance and majority: closed-set answers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from kosmos_eval.metrics import (
    Accuracy,
    BinomialP,
    ChanceBaseline,
    ExactMatch,
    MajorityBaseline,
    Prediction,
    RocAuc,
    compute_all,
    per_sample_all,
)


def yes_no(index: int, yes: float, no: float, target: str) -> Prediction:
    return Prediction(str(index), scores={" no": no, " yes": yes}, target=target)


# few distinct values: many ties
coarse = st.sampled_from([-3.0, -2.0, -1.0, -0.5])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(coarse, coarse, st.booleans()), min_size=1, max_size=40))
def test_roc_auc_is_scikit_learns_with_ties(rows: list[tuple[float, float, bool]]) -> None:
    predictions = [yes_no(i, yes, no, " yes" if label else " no") for i, (yes, no, label) in enumerate(rows)]
    (score,) = RocAuc(positive=" yes").compute(predictions)
    labels = [label for _, _, label in rows]
    if len(set(labels)) < 2:
        assert score.value is None
        assert "one class" in (score.reason or "")
    else:
        assert score.value == 100 * roc_auc_score(labels, [yes - no for yes, no, _ in rows])
        assert score.stderr is not None
        assert score.n == len(rows)


def test_roc_auc_undefined() -> None:
    metric = RocAuc(positive=" yes")
    assert metric.compute([])[0].reason == "no prediction with choice scores"
    other = Prediction("1", scores={" maybe": -1.0, " no": -1.0}, target=" no")
    assert "1 of 2" in (metric.compute([other, yes_no(2, -1, -2, " yes")])[0].reason or "")
    infinite = [yes_no(1, -math.inf, -math.inf, " yes"), yes_no(2, -1, -2, " no")]
    assert metric.compute(infinite)[0].value is None
    assert metric.compute([Prediction("1", "yes", target=" yes")])[0].value is None


def test_roc_auc_ignores_failed_and_blanks() -> None:
    metric = RocAuc(positive=" yes")
    rows = [yes_no(1, -1, -2, " yes"), Prediction("2", scores={"yes": -3.0, "no": -1.0}, target="no")]
    (score,) = metric.compute([*rows, Prediction("3", target=" no")])
    assert (score.value, score.n) == (100.0, 2)
    assert metric.per_sample(rows) == [
        {"roc_auc_margin": 1.0, "roc_auc_label": 1.0},
        {"roc_auc_margin": -2.0, "roc_auc_label": 0.0},
    ]


def test_hanley_mcneil_at_hateful_memes_size() -> None:
    rng = np.random.default_rng(0)
    rows = [yes_no(i, float(rng.normal() + 0.5 * (i % 2)), 0.0, " yes" if i % 2 else " no") for i in range(500)]
    (score,) = RocAuc(positive=" yes").compute(rows)
    assert score.stderr == pytest.approx(2.5, abs=0.2)


def test_accuracy_and_ties() -> None:
    rows = [
        yes_no(1, -1.0, -1.0, " no"),  # a tie goes to the choice listed first
        yes_no(2, -1.0, -1.0, " yes"),
        yes_no(3, -1.0, -2.0, " yes"),
        Prediction("4", scores={"yes": -1.0}, target=" yes"),
        Prediction("5", text=" yes ", target=" yes"),
        Prediction("6", text="no", target=" yes"),
        Prediction("7", target=" yes"),  # failed
        Prediction("8", text="yes"),  # no target
    ]
    (score,) = Accuracy().compute(rows)
    assert score.n == 6
    assert score.value == pytest.approx(100 * 4 / 6)
    assert score.stderr is not None
    per_sample = Accuracy().per_sample(rows)
    assert [row.get("accuracy") for row in per_sample] == [1, 0, 1, 1, 1, 0, None, None]


def test_accuracy_of_indices_and_nan() -> None:
    by_index = {"0": -2.0, "1": -1.0, "2": -1.0}
    assert Accuracy().per_sample([Prediction("1", scores=by_index, target=1)]) == [{"accuracy": 1.0}]
    backwards = dict(reversed(by_index.items()))
    assert Accuracy().per_sample([Prediction("1", scores=backwards, target=2)]) == [{"accuracy": 1.0}]
    by_place = {"a": -2.0, "b": -1.0}
    assert Accuracy().per_sample([Prediction("1", scores=by_place, target=1)]) == [{"accuracy": 1.0}]
    assert Accuracy().per_sample([Prediction("1", text=" 3", target=3)]) == [{"accuracy": 1.0}]
    assert Accuracy().per_sample([Prediction("1", scores={"x": math.nan, "y": -9.0}, target="y")]) == [{"accuracy": 1}]


@given(st.lists(st.tuples(coarse, coarse, st.booleans()), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_accuracy_in_any_order(rows: list[tuple[float, float, bool]], random: object) -> None:
    predictions = [yes_no(i, yes, no, " yes" if label else " no") for i, (yes, no, label) in enumerate(rows)]
    shuffled = list(predictions)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert Accuracy().compute(predictions)[0].value == Accuracy().compute(shuffled)[0].value


def puzzles(right: int, n: int, choices: int = 6) -> list[Prediction]:
    return [
        Prediction(str(i), scores={str(c): -float(c) for c in range(choices)}, target=0 if i < right else 1)
        for i in range(n)
    ]


@pytest.mark.parametrize(("right", "p"), [(11, 0.20), (13, 0.063)])
def test_binomial_p_of_the_papers_raven_figures(right: int, p: float) -> None:
    predictions = puzzles(right, 50)
    assert Accuracy().compute(predictions)[0].value == pytest.approx(2 * right)
    (score,) = BinomialP().compute(predictions)
    assert score.value == pytest.approx(p, abs=0.005)
    assert ChanceBaseline().compute(predictions)[0].value == pytest.approx(100 / 6)


def test_binomial_p_undefined() -> None:
    assert BinomialP().compute([])[0].value is None
    assert "differ" in (BinomialP().compute(puzzles(1, 2) + puzzles(1, 2, choices=8))[0].reason or "")
    texts = [Prediction("1", text="1", target=1)]
    assert "not known" in (BinomialP().compute(texts)[0].reason or "")
    assert BinomialP(chance=0.125).compute(texts)[0].value == pytest.approx(0.125)


def test_baselines() -> None:
    predictions = [Prediction(str(i), target=" yes" if i < 3 else " no") for i in range(4)]
    assert MajorityBaseline().compute(predictions)[0].value == 75.0
    assert MajorityBaseline().compute([])[0].reason
    assert ChanceBaseline(choices=8).compute(predictions)[0].value == 12.5
    assert ChanceBaseline().compute([Prediction("1", fields={"choices": ["a", "b"]})])[0].value == 50.0
    assert ChanceBaseline().compute([Prediction("1")])[0].reason
    assert ChanceBaseline().compute([])[0].reason
    assert MajorityBaseline().rule != MajorityBaseline(normalised=True).rule
    assert MajorityBaseline().per_sample(predictions) == [{}] * 4


@pytest.mark.parametrize(
    ("targets", "best"), [(["Blue.", "blue", "a blue", "red"], 75.0), ([["a dog", "b"], ["c", "Dog"], "dog"], 100.0)]
)
def test_the_constant_beside_exact_match(targets: list[Any], best: float) -> None:
    predictions = [Prediction(str(i), target=target) for i, target in enumerate(targets)]
    (found,) = MajorityBaseline(normalised=True).compute(predictions)
    assert found.value == pytest.approx(best)
    given = [{"blue", "red"}, {"dog", "b", "c"}][best == 100]
    each = [ExactMatch().compute([replace(p, text=text) for p in predictions])[0].value for text in given]
    assert found.value == pytest.approx(max(filter(None, each)))


def test_a_target_that_is_no_answer_is_said_before_a_run() -> None:
    assert "type int64" in (Accuracy().objection(np.int64(1)) or "")
    assert [Accuracy().objection(target) for target in (None, " yes", 1)] == [None] * 3


def test_one_primary_score() -> None:
    predictions = [yes_no(1, -1, -2, " yes"), yes_no(2, -1, -2, " no")]
    metrics = (RocAuc(positive=" yes"), Accuracy(), MajorityBaseline())
    scores = compute_all(metrics, predictions)
    assert [(s.metric, s.primary) for s in scores] == [("roc_auc", True), ("accuracy", False), ("majority", False)]
    assert per_sample_all(metrics, predictions)[0] == {"roc_auc_margin": 1.0, "roc_auc_label": 1.0, "accuracy": 1.0}
    assert compute_all((), predictions) == []
