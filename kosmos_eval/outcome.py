"""What a run's stored responses are worth. Pure: it reads the run's folder and knows no model and no data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from kosmos_eval.manifest import Counts
from kosmos_eval.metrics.base import Metric, Prediction, Score, compute_all, per_sample_all
from kosmos_eval.record import Record
from kosmos_eval.store import RunFolder

NO_ANSWER = "no sample was answered"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run's figures and what became of its samples."""

    scores: tuple[Score, ...]
    counts: Counts
    cut_off: Mapping[str, float]
    """By stage: the share of its texts that ended for want of tokens."""
    errors: Mapping[str, str]
    """Sample id -> why it was not answered."""
    per_sample: Mapping[str, Mapping[str, float]]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "scores": [asdict(score) for score in self.scores],
            "counts": self.counts.model_dump(),
            "cut_off": dict(self.cut_off),
            "errors": dict(self.errors),
        }


def outcome(folder: RunFolder, metrics: Sequence[Metric]) -> Outcome:
    """Scores a run from its folder: failures are counted, never scored as zero."""
    rows = folder.samples()
    records = folder.records()
    answers = {row["id"]: records.get((row["id"], row["prompt_hash"])) for row in rows}
    answered = [row for row in rows if _answered(answers[row["id"]])]
    predictions = [_prediction(row, answers[row["id"]]) for row in answered]
    errors = {row["id"]: _error(answers[row["id"]]) for row in rows if not _answered(answers[row["id"]])}
    unfit = [r for r in answers.values() if r is not None and not r.response.fits]
    told = _told(metrics, folder.references())
    scores = [_defined(score) for score in compute_all(told, predictions)]
    reason = ""
    if unfit:
        reason = f"does not fit: {len(unfit)} of {len(rows)} requests ({unfit[0].response.error})"
    elif rows and not answered:
        reason = f"{NO_ANSWER}: {next(iter(errors.values()))}"
    # Where only some do not fit, the others were picked by the length of their prompts: no score of the benchmark.
    if reason:
        scores = [replace(s, value=None, stderr=None, reason=reason) for s in scores]
    counts = Counts(samples=len(rows), answered=len(answered), failed=len(errors), unfit=len(unfit))
    each = [{k: v for k, v in row.items() if math.isfinite(v)} for row in per_sample_all(told, predictions)]
    values = dict(zip([row["id"] for row in answered], each, strict=True))
    return Outcome(tuple(scores), counts, _cut_off(answers.values()), errors, values)


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


def _prediction(row: Mapping[str, Any], record: Record | None) -> Prediction:
    assert record is not None
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


def _cut_off(records: Iterable[Record | None]) -> dict[str, float]:
    texts: Counter[str] = Counter()
    cut: Counter[str] = Counter()
    for record in records:
        for stage in record.response.stages if record is not None else ():
            if stage.generated is not None:
                texts[stage.name] += 1
                cut[stage.name] += stage.generated.finish == "length"
    return {name: cut[name] / texts[name] for name in sorted(texts)}
