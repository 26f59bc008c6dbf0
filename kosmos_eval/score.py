"""Scoring predictions made elsewhere: what `kosmos-eval score` does. No model and no images are needed.

Three kinds of file are read, told apart by what their records hold, not by their names:

- a VQA results file, a JSON list of `{question_id, answer}` (https://visualqa.org/evaluation.html), or VizWiz's own
  `{image, answer}`;
- a COCO caption results file, a JSON list of `{image_id, caption}` (https://cocodataset.org/#captions-eval);
- JSON lines of `{id, prediction}` or `{id, scores: {answer: log-probability}}`.

Whatever the file, ids are compared as strings with the samples' ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from kosmos_eval.errors import DataError
from kosmos_eval.metrics.base import Metric, Prediction, Score, compute_all
from kosmos_eval.metrics.prediction_file import RawPrediction, read_predictions, short
from kosmos_eval.request import Choice

__all__ = ["RawPrediction", "SampleLike", "match_predictions", "read_predictions", "reference_corpus", "score_file"]

_IDS_SHOWN = 5


class SampleLike(Protocol):
    """What scoring needs of a sample."""

    @property
    def id(self) -> str: ...
    @property
    def target(self) -> Any: ...
    @property
    def group(self) -> str | None: ...
    @property
    def fields(self) -> Mapping[str, Any]: ...
    @property
    def candidates(self) -> Mapping[str, Any]: ...
    @property
    def choices(self) -> Sequence[Choice]: ...


def score_file(
    samples: Iterable[SampleLike],
    metrics: Iterable[Metric],
    path: Path,
    *,
    partial: bool = False,
    answers: Sequence[str] = (),
) -> list[Score]:
    """The scores of a predictions file on a split; `samples` are all of the split, whatever part is predicted.

    `answers` are the task's; a sample's own choices, or its candidates, are others. A file that weighs anything else,
    or none of whose texts is an answer, is refused, not scored 0.
    """
    split = list(samples)
    predictions = match_predictions(split, read_predictions(path), partial)
    weighed = {sample.id: _weighed(sample, answers) for sample in split}
    _refuse_other_answers([(p, weighed[p.sample_id]) for p in predictions if weighed[p.sample_id]], path)
    corpus = reference_corpus(split)
    return compute_all([metric.with_corpus(corpus) for metric in metrics], predictions)


def reference_corpus(samples: Iterable[SampleLike]) -> dict[str, tuple[str, ...]]:
    """The reference texts of a whole split, for metrics with corpus statistics (`Metric.with_corpus`)."""
    return {sample.id: tuple(map(str, sample.target)) for sample in samples if isinstance(sample.target, list | tuple)}


def match_predictions(
    samples: Iterable[SampleLike], predictions: Mapping[str, RawPrediction], partial: bool = False
) -> list[Prediction]:
    """Each sample with its prediction, in the samples' order.

    A sample without a prediction and a prediction without a sample are errors unless `partial`, which scores those
    that meet. None meeting at all is an error always: the file belongs to something else.
    """
    split = list(samples)
    names = _names(split, predictions)
    met = [(sample, predictions[name]) for sample, name in zip(split, names, strict=True) if name in predictions]
    if predictions and not met:
        raise DataError(_no_overlap(names, predictions))
    if not partial:
        _refuse_missing(names, predictions)
        _refuse_extra(names, predictions)
    return [
        Prediction(sample.id, raw.text, raw.scores, sample.target, sample.group, sample.fields) for sample, raw in met
    ]


def _names(samples: Sequence[SampleLike], predictions: Mapping[str, RawPrediction]) -> list[str]:
    """What the file calls each sample: its id, or else its own field of the file's id key.

    VizWiz is why: its samples are called by image, but files converted to the VQA layout number the questions. The
    field is taken only where no id is known to the file and the field tells all samples apart.
    """
    ids = [str(sample.id) for sample in samples]
    keys = {raw.key for raw in predictions.values()}
    if len(keys) != 1 or any(name in predictions for name in ids):
        return ids
    key = keys.pop()
    others = [str(sample.fields[key]) for sample in samples if key in sample.fields]
    return others if len(set(others)) == len(ids) == len(others) else ids


def _refuse_missing(names: Sequence[str], predictions: Mapping[str, RawPrediction]) -> None:
    missing = [name for name in names if name not in predictions]
    if missing:
        raise DataError(
            f"{_file_of(predictions)}: {len(missing)} of {len(names)} samples have no prediction: {_some(missing)};"
            " --partial scores those that are there"
        )


def _refuse_extra(names: Sequence[str], predictions: Mapping[str, RawPrediction]) -> None:
    known = set(names)
    extra = [name for name in predictions if name not in known]
    if extra:
        raise DataError(
            f"{predictions[extra[0]].origin}: {len(extra)} of {len(predictions)} predictions are for ids that are not"
            f" in the split: {_some(extra)}; --partial leaves them out"
        )


def _weighed(sample: SampleLike, answers: Sequence[str]) -> tuple[str, ...]:
    """What a run calls the answers that it weighs for a sample; none where it would write."""
    names = [choice.name for choice in sample.choices] or answers or list(sample.candidates)
    return tuple(name.strip() for name in names)


def _refuse_other_answers(predictions: Sequence[tuple[Prediction, tuple[str, ...]]], path: Path) -> None:
    for prediction, answers in predictions:
        if prediction.scores and sorted(name.strip() for name in prediction.scores) != sorted(answers):
            raise DataError(
                f"{path}: id {short(prediction.sample_id)} has scores of {_some(list(prediction.scores))};"
                f" this task weighs {_some(answers)}"
            )
    texts = [(p.text.strip(), answers) for p, answers in predictions if p.text is not None and not p.scores]
    if texts and not any(text in answers for text, answers in texts):
        text, answers = texts[0]
        raise DataError(f"{path}: no prediction is one of {_some(answers)}; it has such as {short(text)}")


def _no_overlap(names: Sequence[str], predictions: Mapping[str, RawPrediction]) -> str:
    return (
        f"{_file_of(predictions)}: none of the {len(predictions)} predictions is for a sample of this split:"
        f" the file has ids such as {_some(list(predictions)[:1])}, the split {_some(list(names)[:1]) or 'no samples'}"
    )


def _file_of(predictions: Mapping[str, RawPrediction]) -> str:
    return next((str(raw.path) for raw in predictions.values()), "the predictions")


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _IDS_SHOWN} more" if len(ids) > _IDS_SHOWN else ""
    return ", ".join(map(short, ids[:_IDS_SHOWN])) + more
