"""Baselines: what could be scored without looking at an image. They read the targets only, never the predictions."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kosmos_eval.metrics.accuracy import chance_of
from kosmos_eval.metrics.base import PER_CENT, Metric, Prediction, Score, mean_score, undefined
from kosmos_eval.metrics.vqa import NOTHING_ANSWERED, VqaAccuracy, annotator_answers, best_constant, normalise

NO_TARGETS = "no sample has a target"


class _Baseline(Metric):
    """A metric with no value of its own per sample."""

    __slots__ = ()

    def per_sample(self, predictions: Sequence[Prediction]) -> list[Mapping[str, float]]:
        return [{} for _ in predictions]


@dataclass(frozen=True, slots=True)
class MajorityBaseline(_Baseline):
    """The share of the most common target: the accuracy of always giving that answer.

    Beside `ExactMatch` it is `MajorityBaseline(normalised=True)`: targets are then compared as there, and a sample with
    several is answered by any of them.
    """

    normalised: bool = False
    name: str = "majority"

    @property
    def rule(self) -> str:
        compared = ", normalised as in VQA" if self.normalised else ""
        return f"the most common target of these samples{compared}, always"

    def compute(self, predictions: Sequence[Prediction]) -> list[Score]:
        targets = [self._answers(p.target) for p in predictions if p.target is not None]
        counts = Counter(answer for answers in targets for answer in answers)
        if not counts:
            return [undefined(self.name, NO_TARGETS)]
        return [Score(self.name, PER_CENT * max(counts.values()) / len(targets), len(targets))]

    def _answers(self, target: object) -> set[str]:
        """The answers that would be right."""
        if not self.normalised:
            return {str(target).strip()}
        return {normalise(text) for text in annotator_answers(target) or [str(target)]}


@dataclass(frozen=True, slots=True)
class ConstantBaseline(_Baseline):
    """The VQA accuracy of giving one answer to every question.

    Without `answer` it is the answer that scores highest on these very questions (`best_constant`). VizWiz names
    "unanswerable": 52.12 on its validation questions, above every published few-shot figure of its time.
    """

    answer: str | None = None
    name: str = "vqa_constant"

    @classmethod
    def unanswerable(cls) -> ConstantBaseline:
        """VizWiz's own constant answer."""
        return cls(answer="unanswerable", name="constant_unanswerable")

    @property
    def rule(self) -> str:
        answer = repr(self.answer) if self.answer else "the one answer that scores highest on these samples"
        return f"{answer}, always"

    def compute(self, predictions: Sequence[Prediction]) -> list[Score]:
        answer = self.answer_for(predictions)
        if answer is None:
            return [undefined(self.name, NO_TARGETS)]
        accuracy = VqaAccuracy()
        values = (accuracy.of(replace(p, text=answer)) for p in predictions if annotator_answers(p.target))
        return [mean_score(self.name, array("d", (v for v in values if v is not None)), absent=NOTHING_ANSWERED)]

    def answer_for(self, predictions: Sequence[Prediction]) -> str | None:
        """The constant answer: the one given, else the best one for these questions."""
        return self.answer if self.answer is not None else best_constant(p.target for p in predictions)


@dataclass(frozen=True, slots=True)
class ChanceBaseline(_Baseline):
    """The accuracy of guessing: the mean of one over the number of choices, `choices` where all have the same."""

    choices: int | None = None
    name: str = "chance"

    @property
    def rule(self) -> str:
        return "one over the number of choices"

    def compute(self, predictions: Sequence[Prediction]) -> list[Score]:
        if not predictions:
            return [undefined(self.name, "no samples")]
        chances = (1.0 / self.choices if self.choices else chance_of(p) for p in predictions)
        known = array("d", (chance for chance in chances if chance is not None))
        if not known:
            return [undefined(self.name, "the number of choices is not known", len(predictions))]
        return [Score(self.name, PER_CENT * sum(known) / len(known), len(known))]
