"""Accuracy of closed-set answers, and how likely it is by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from kosmos_eval.metrics.base import Metric, Prediction, Score, mean_score, undefined

NOTHING_ANSWERED = "no prediction with choice scores or a text"


@dataclass(frozen=True, slots=True)
class Accuracy(Metric):
    """The share of predictions whose best-scored choice is the target.

    Ties go to the choice listed first, so the figure does not depend on anything but the scores. Choices are compared
    without surrounding blanks: a task's ` yes` and a file's `yes` are one answer. A prediction that is a text, not
    scores, is right when the text is the target. Failed predictions (neither) are left out; `n` says so.
    """

    name: str = "accuracy"
    to_the_letter: ClassVar[bool] = True

    @property
    def rule(self) -> str:
        return "the best-scored choice, the first listed of equals, is the target"

    def per_sample(self, predictions: Sequence[Prediction]) -> list[Mapping[str, float]]:
        outcomes = [is_correct(prediction) for prediction in predictions]
        return [{} if correct is None else {self.name: float(correct)} for correct in outcomes]

    def compute(self, predictions: Sequence[Prediction]) -> list[Score]:
        return [mean_score(self.name, outcomes(predictions), absent=NOTHING_ANSWERED)]

    def objection(self, target: Any) -> str | None:
        if target is None or isinstance(target, str | int):
            return None
        return f"has a target of type {type(target).__name__}; {self.name} compares with a text or an int"


@dataclass(frozen=True, slots=True)
class BinomialP(Metric):
    """One-sided exact binomial p of the number of right answers against guessing. Not scaled by 100.

    With 50 six-way puzzles (KOSMOS-1, Raven IQ50) 11 right have p = 0.20 and 13 have p = 0.06: the number of right
    answers alone says little. `chance` is one over the number of choices, taken from the predictions unless given.
    """

    chance: float | None = None
    name: str = "binomial_p"

    @property
    def rule(self) -> str:
        return "one-sided exact binomial test of the right answers against guessing; not times 100"

    def per_sample(self, predictions: Sequence[Prediction]) -> list[Mapping[str, float]]:
        return [{} for _ in predictions]

    def compute(self, predictions: Sequence[Prediction]) -> list[Score]:
        from scipy.stats import binomtest

        right, answered, chances = 0, 0, set[float | None]()
        for prediction in predictions:
            correct = is_correct(prediction)
            if correct is not None:
                right += correct
                answered += 1
                chances.add(self.chance if self.chance is not None else chance_of(prediction))
        if not answered:
            return [undefined(self.name, NOTHING_ANSWERED)]
        if len(chances) > 1:
            return [undefined(self.name, "the samples differ in their number of choices", answered)]
        chance = chances.pop()
        if chance is None:
            return [undefined(self.name, "the number of choices is not known", answered)]
        p_value = binomtest(right, answered, chance, alternative="greater").pvalue
        return [Score(self.name, float(p_value), answered)]


def outcomes(predictions: Sequence[Prediction]) -> Sequence[int]:
    """1 for right or 0 for wrong, of the predictions that say anything."""
    return bytearray(correct for correct in map(is_correct, predictions) if correct is not None)


def is_correct(prediction: Prediction) -> bool | None:
    """Whether the prediction is its target; `None` where it says nothing or there is no target to compare with."""
    if prediction.target is None:
        return None
    if prediction.scores:
        return _same(best_choice(prediction.scores, prediction.target), prediction.target)
    if prediction.text is not None:
        return _same(prediction.text, prediction.target)
    return None


def chance_of(prediction: Prediction) -> float | None:
    """One over the number of choices: the sample's own number (`choices`, a count or the choices) or that scored."""
    choices = prediction.fields.get("choices")
    if isinstance(choices, int) and not isinstance(choices, bool):
        count = choices
    elif isinstance(choices, Sequence | Mapping) and not isinstance(choices, str):
        count = len(choices)
    else:
        count = len(prediction.scores or ())
    return 1.0 / count if count > 0 else None


def best_choice(scores: Mapping[str, float], target: object) -> str:
    """The best-scored choice, the first of equals. For an index target the choice is its index."""
    choices = list(scores)
    # `max` keeps the first of equal items; a NaN compares false with all and must not win by standing first
    position = max(range(len(choices)), key=lambda i: _sortable(scores[choices[i]]))
    if isinstance(target, int) and not all(choice.strip().isdecimal() for choice in choices):
        return str(position)
    return choices[position]


def _sortable(score: float) -> float:
    return float("-inf") if score != score else score


def _same(answer: str, target: object) -> bool:
    if isinstance(target, int) and answer.strip().isdecimal():
        return int(answer) == target
    return answer.strip() == str(target).strip()
