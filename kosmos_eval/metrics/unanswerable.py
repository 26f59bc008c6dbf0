"""VizWiz: how often "unanswerable" is said, and how well it is known (Gurari et al. 2018, task 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kosmos_eval.metrics.base import PER_CENT, Metric, Prediction, Score, mean_score, undefined
from kosmos_eval.metrics.vqa import annotator_answers, normalise

UNANSWERABLE = "unanswerable"


@dataclass(frozen=True, slots=True)
class Unanswerable(Metric):
    """The share of questions answered "unanswerable", and the F1 of that answer.

    A constant "unanswerable" scores 52.1 of VQA accuracy on VizWiz val, so a VQA accuracy means little without these.
    """

    name: str = "unanswerable"

    @property
    def rule(self) -> str:
        return "answers that are 'unanswerable' once normalised"

    def per_sample(self, predictions: Sequence[Prediction]) -> list[Mapping[str, float]]:
        return [
            {} if p.text is None else {f"{self.name}_predicted": float(says_unanswerable(p.text))} for p in predictions
        ]

    def compute(self, predictions: Sequence[Prediction]) -> list[Score]:
        said = bytearray(says_unanswerable(p.text) for p in predictions if p.text is not None)
        share = mean_score(f"{self.name}_predicted", said, absent="no prediction with an answer text")
        return [share, self._f1(predictions)]

    def _f1(self, predictions: Sequence[Prediction]) -> Score:
        name = f"{self.name}_f1"
        truth, said = bytearray(), bytearray()
        for prediction in predictions:
            if prediction.text is not None and (gold := is_unanswerable(prediction)) is not None:
                truth.append(gold)
                said.append(says_unanswerable(prediction.text))
        if not truth:
            return undefined(name, "no prediction with an answer text and annotators' answers")
        if not any(truth) and not any(said):
            return undefined(name, "no question is unanswerable and none is called so", len(truth))
        import numpy as np
        from sklearn.metrics import f1_score

        value = f1_score(np.asarray(truth), np.asarray(said), zero_division=0)
        return Score(name, PER_CENT * float(value), len(truth))


def says_unanswerable(text: str) -> bool:
    """Whether an answer is "unanswerable" once normalised as VQA answers are."""
    return normalise(text) == UNANSWERABLE


def is_unanswerable(prediction: Prediction) -> bool | None:
    """The truth: the official `answerable` flag, else the answer type, else the annotators' most common answer."""
    flag = prediction.fields.get("answerable")
    if flag is not None:
        return not bool(flag)
    if prediction.group is not None:
        return prediction.group == UNANSWERABLE
    answers = annotator_answers(prediction.target)
    if not answers:
        return None
    return Counter(map(normalise, answers)).most_common(1)[0][0] == UNANSWERABLE
