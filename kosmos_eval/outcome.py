"""What a run's stored responses are worth: a function of the run's folder, which knows no model and no data."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from kosmos_eval.environment import versions
from kosmos_eval.manifest import Counts
from kosmos_eval.metrics.base import (
    Metric,
    Prediction,
    Score,
    compute_all,
    counts_over_split,
    declaration,
    per_sample_all,
)
from kosmos_eval.record import Record
from kosmos_eval.responses import Index
from kosmos_eval.spool import spooled
from kosmos_eval.store import RunFolder

NO_ANSWER = "no sample was answered"
SLICE = 65_536
"""Samples whose values are worked out together by metrics that count over a split. No caption split is larger."""
CHUNK = 2048
"""The same of other metrics, where there are more than `SLICE`: what is held in memory at once."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run's figures and what became of its samples."""

    scores: tuple[Score, ...]
    counts: Counts
    cut_off: Mapping[str, float]
    """By stage: the share of its texts that ended for want of tokens."""
    errors: Mapping[str, str]
    """Sample id -> why it was not answered."""
    metrics: Sequence[Metric]
    predictions: Sequence[Prediction]
    """What the scores are of: the answered samples, in the order of the data."""

    def each_sample(self) -> Iterator[tuple[str, dict[str, float]]]:
        """The finite values of each answered sample, by metric, one sample at a time."""
        whole = len(self.predictions) <= SLICE or any(map(counts_over_split, self.metrics))
        size = SLICE if whole else CHUNK
        for start in range(0, len(self.predictions), size):
            part = self.predictions[start : start + size]
            for prediction, row in zip(part, per_sample_all(self.metrics, part), strict=True):
                yield prediction.sample_id, {k: v for k, v in row.items() if math.isfinite(v)}

    @property
    def per_sample(self) -> dict[str, dict[str, float]]:
        """All of them at once."""
        return dict(self.each_sample())

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "scores": [asdict(score) for score in self.scores],
            "counts": self.counts.model_dump(),
            "cut_off": dict(self.cut_off),
            "errors": dict(self.errors),
        }


@dataclass(slots=True)
class _Tally:
    """What became of the samples, counted while they are gone through."""

    samples: int = 0
    unfit: int = 0
    first_unfit: str | None = None
    errors: dict[str, str] = field(default_factory=dict)
    texts: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)

    def add(self, sample_id: str, record: Record | None) -> None:
        self.samples += 1
        if not _answered(record):
            self.errors[sample_id] = sys.intern(_error(record))  # a million of one reason are one text
        if record is None:
            return
        if not record.response.fits:
            self.unfit += 1
            self.first_unfit = self.first_unfit or record.response.error
        for stage in record.response.stages:
            if stage.generated is not None:
                self.texts[stage.name] += 1
                self.cut[stage.name] += stage.generated.finish == "length"


def outcome(folder: RunFolder, metrics: Sequence[Metric], count: int | None = None) -> Outcome:
    """Scores a run from its folder: failures are counted, never scored as zero.

    Raises DataError where the folder does not hold `count` samples, if that is known.
    """
    tally = _Tally()
    with closing(folder.index()) as index:
        predictions = spooled(_predictions(folder, index, tally, count))
    told = _told(metrics, folder.references())
    scores = [_defined(score) for score in compute_all(told, predictions)]
    reason = ""
    if tally.unfit:
        reason = f"does not fit: {tally.unfit} of {tally.samples} requests ({tally.first_unfit})"
    elif tally.samples and not predictions:
        reason = f"{NO_ANSWER}: {next(iter(tally.errors.values()))}"
    # Where only some do not fit, the others were picked by the length of their prompts: no score of the benchmark.
    if reason:
        scores = [replace(s, value=None, stderr=None, reason=reason) for s in scores]
    counts = Counts(samples=tally.samples, answered=len(predictions), failed=len(tally.errors), unfit=tally.unfit)
    cut_off = {name: tally.cut[name] / tally.texts[name] for name in sorted(tally.texts)}
    return Outcome(tuple(scores), counts, cut_off, tally.errors, told, predictions)


def keep_scores(folder: RunFolder, metrics: Sequence[Metric], count: int | None = None) -> Outcome:
    """Scores a run (see `outcome`) and keeps its scores in its folder, with what made them."""
    found = outcome(folder, metrics, count)
    scores = {**found.to_json(), **scorer(metrics)}
    folder.write_scores(scores, ({"id": i, "values": v} for i, v in found.each_sample()))
    return found


def scorer(metrics: Sequence[Metric]) -> dict[str, Any]:
    """What turns responses into scores: another version, or metrics that were edited, score them again."""
    return {"made_by": versions().get("kosmos-eval"), "metrics": [declaration(metric) for metric in metrics]}


def _predictions(folder: RunFolder, index: Index, tally: _Tally, count: int | None) -> Iterator[Prediction]:
    """The answered samples as metrics see them; all are counted on the way."""
    for row in folder.each_sample(count):
        record = index.record((row["id"], row["prompt_hash"]))
        tally.add(row["id"], record)
        if record is not None and _answered(record):
            yield _prediction(row, record)


def _defined(score: Score) -> Score:
    """The score, or an undefined one where its value is no finite number: no file holds a NaN."""
    if score.value is not None and not math.isfinite(score.value):
        return replace(score, value=None, stderr=None, reason=f"the metric gave {score.value}")
    if score.stderr is not None and not math.isfinite(score.stderr):
        return replace(score, stderr=None)
    return score


def _answered(record: Record | None) -> bool:
    return record is not None and record.response.error is None and record.response.fits


def _error(record: Record | None) -> str:
    return "not asked yet" if record is None else str(record.response.error or "does not fit")


def _prediction(row: Mapping[str, Any], record: Record) -> Prediction:
    text = record.response.text
    return Prediction(
        row["id"],
        None if text is None else text.strip(),
        record.response.scores,
        row["target"],
        row["group"],
        row["fields"],
    )


def _told(metrics: Sequence[Metric], references: Mapping[str, Sequence[str]] | None) -> list[Metric]:
    return list(metrics) if references is None else [metric.with_corpus(references) for metric in metrics]
