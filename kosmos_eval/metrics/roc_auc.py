"""Area under the ROC curve, the headline metric of HatefulMemes."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from kosmos_eval.metrics.base import PER_CENT, Metric, Prediction, Score, undefined


@dataclass(frozen=True, slots=True)
class RocAuc(Metric):
    """scikit-learn's ROC AUC of log p(positive) - log p(negative); KOSMOS-1 table 7 and the HatefulMemes rules.

    The difference and the normalised probability of the positive answer order the samples alike, so give the same area.
    """

    positive: str
    name: str = "roc_auc"
    to_the_letter: ClassVar[bool] = True

    @property
    def rule(self) -> str:
        return f"area under the curve of log p({self.positive!r}) - log p(the other answer), ties half"

    def per_sample(self, predictions: Sequence[Prediction]) -> list[Mapping[str, float]]:
        """The margin, and 1 for a positive sample or 0: what it takes to compare two models' areas later."""
        return [self._values(prediction) for prediction in predictions]

    def _values(self, prediction: Prediction) -> Mapping[str, float]:
        margin = self.margin(prediction)
        if margin is None or prediction.target is None:
            return {}
        return {f"{self.name}_margin": margin, f"{self.name}_label": float(self._is_positive(prediction))}

    def _is_positive(self, prediction: Prediction) -> bool:
        return str(prediction.target).strip() == self.positive.strip()

    def compute(self, predictions: Sequence[Prediction]) -> list[Score]:
        margins, labels = array("d"), bytearray()
        for prediction in predictions:
            if prediction.target is None or not (prediction.scores or prediction.text is not None):
                continue
            labels.append(self._is_positive(prediction))
            margin = self.margin(prediction)
            if margin is not None:
                margins.append(margin)
        reason = self._why_undefined(len(labels), len(margins), labels)
        if reason is not None:
            return [undefined(self.name, reason, len(labels))]
        import numpy as np
        from sklearn.metrics import roc_auc_score

        area = float(roc_auc_score(np.asarray(labels), np.asarray(margins)))
        error = hanley_mcneil(area, sum(labels), len(labels) - sum(labels))
        return [Score(self.name, PER_CENT * area, len(labels), stderr=PER_CENT * error)]

    def margin(self, prediction: Prediction) -> float | None:
        """log p(positive) - log p(the other choice); `None` without exactly these two finite scores."""
        scores = {choice.strip(): value for choice, value in (prediction.scores or {}).items()}
        positive = scores.pop(self.positive.strip(), None)
        if positive is None or len(scores) != 1:
            return None
        margin = positive - next(iter(scores.values()))
        return margin if abs(margin) < float("inf") else None

    def _why_undefined(self, answered: int, known: int, labels: Sequence[int]) -> str | None:
        if not answered:
            return "no prediction with choice scores"
        if known < answered:
            return (
                f"{answered - known} of {answered} predictions lack finite scores"
                f" of {self.positive!r} and one other choice"
            )
        if len(set(labels)) < 2:
            return f"one class only: all {answered} targets are {'' if labels[0] else 'not '}{self.positive!r}"
        return None


def hanley_mcneil(area: float, positives: int, negatives: int) -> float:
    """Standard error of an ROC area (Hanley and McNeil 1982, Radiology 143:29-36, equation 1)."""
    both_above = area / (2 - area)
    both_below = 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area) + (positives - 1) * (both_above - area**2) + (negatives - 1) * (both_below - area**2)
    ) / (positives * negatives)
    return max(variance, 0.0) ** 0.5
