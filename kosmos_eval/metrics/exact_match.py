"""Exact match of written answers in VQA's normal form: for questions with one answer, or several of equal right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kosmos_eval.metrics.accuracy import best_choice
from kosmos_eval.metrics.base import Metric, Prediction, Score, grouped_mean_scores
from kosmos_eval.metrics.vqa import annotator_answers, normalise

NOTHING_ANSWERED = "no prediction with an answer and a target"


@dataclass(frozen=True, slots=True)
class ExactMatch(Metric):
    """The share of answers that are the target, or one of the targets, both sides in VQA's normal form.

    So "Blue." is "blue", "a circle" is "circle" and "two" is "2"; "it is blue" is not "blue". Where choices were scored
    the answer is the best of them.
    """

    name: str = "exact_match"

    @property
    def rule(self) -> str:
        return "the answer is a target, both normalised as in VQA (case, punctuation, articles, number words)"

    def per_sample(self, predictions: Sequence[Prediction]) -> list[Mapping[str, float]]:
        values = [self.of(prediction) for prediction in predictions]
        return [{} if value is None else {self.name: value} for value in values]

    def compute(self, predictions: Sequence[Prediction]) -> list[Score]:
        return grouped_mean_scores(self.name, predictions, self.of, absent=NOTHING_ANSWERED)

    def of(self, prediction: Prediction) -> float | None:
        """1 or 0; `None` without an answer or a target."""
        target = prediction.target
        targets = [target] if isinstance(target, str) else annotator_answers(target)
        answer = best_choice(prediction.scores, target) if prediction.scores else prediction.text
        if answer is None or not targets:
            return None
        return float(normalise(answer) in {normalise(text) for text in targets})
