"""What a metric is: a pure function of predictions, with per-sample values where it has them.

A metric never sees a model, a run or a file. It never raises because a figure is undefined on a sample (one class only,
nothing answered): the figure is then `None`, with the reason.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

PER_CENT = 100.0
"""The papers print all scores times 100."""

ReferenceCorpus = Mapping[str, Sequence[str]]
"""Sample id -> reference texts, for a whole split."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one response says about one sample, as metrics see it. A failed response has neither text nor scores."""

    sample_id: str
    text: str | None = None
    """The generated answer (generation tasks)."""
    scores: Mapping[str, float] | None = None
    """Choice text -> summed log-probability, in the order the choices are listed (scored tasks)."""
    target: Any = None
    """The answer string; for VQA the annotators' answers; for captions the references; for puzzles an index."""
    group: str | None = None
    """What to break the score down by, e.g. the VQA answer type."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of the sample that a metric may need."""


@dataclass(frozen=True, slots=True)
class Score:
    """One figure of a table."""

    metric: str
    value: float | None
    """On the papers' scale (times 100); `None` where the metric is undefined."""
    n: int
    """How many samples the figure is about."""
    reason: str | None = None
    """Why the value is undefined."""
    primary: bool = False
    stderr: float | None = None
    """On the scale of `value`."""
    rule: str | None = None
    """How it is computed, in few words (`Metric.rule`)."""


class Metric(ABC):
    """A metric. Subclasses are small frozen dataclasses, so that a task can declare them as class attributes."""

    name: str
    to_the_letter: ClassVar[bool] = False
    """Whether an answer is compared as it stands, so that a target which is no answer could never be met."""

    @property
    def rule(self) -> str:
        """How it is computed, in few words, for tables; of a metric that does not say, its declaration."""
        return declaration(self)

    @abstractmethod
    def per_sample(self, predictions: Sequence[Prediction]) -> list[Mapping[str, float]]:
        """Per prediction, the values this metric has for it (0 to 1, or the metric's own unit); `{}` where none."""

    @abstractmethod
    def compute(self, predictions: Sequence[Prediction]) -> list[Score]:
        """The figures over all predictions; the headline figure of this metric first."""

    def objection(self, target: Any) -> str | None:
        """Why no answer whatever could be credited against this target; None where one can. Said before a run."""
        return None

    def with_corpus(self, corpus: ReferenceCorpus) -> Self:
        """This metric, told the references of the whole split. Only metrics with corpus statistics care."""
        return self


def compute_all(metrics: Iterable[Metric], predictions: Sequence[Prediction]) -> list[Score]:
    """All scores of a task. The first score of the first metric is the task's primary one, and no other is."""
    scores = [replace(score, rule=metric.rule) for metric in metrics for score in metric.compute(predictions)]
    return [replace(score, primary=index == 0) for index, score in enumerate(scores)]


def declaration(metric: Metric) -> str:
    """A metric as it is written in Python, the same in every process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(metric))


def counts_over_split(metric: Metric) -> bool:
    """Whether it wants to be told the references of the whole split (`Metric.with_corpus`)."""
    return type(metric).with_corpus is not Metric.with_corpus


def per_sample_all(metrics: Iterable[Metric], predictions: Sequence[Prediction]) -> list[dict[str, float]]:
    """Per prediction, the values of all metrics together."""
    merged: list[dict[str, float]] = [{} for _ in predictions]
    for metric in metrics:
        for row, values in zip(merged, metric.per_sample(predictions), strict=True):
            row.update(values)
    return merged


def mean_score(name: str, values: Sequence[float], *, absent: str) -> Score:
    """The mean of per-sample values in 0..1, with its standard error; of no values undefined, because `absent`."""
    from kosmos_eval.metrics.statistics import standard_error

    if not values:
        return undefined(name, absent)
    error = standard_error(values)
    return Score(
        name,
        PER_CENT * sum(values) / len(values),
        len(values),
        stderr=None if error is None else PER_CENT * error,
    )


def undefined(name: str, reason: str, n: int = 0) -> Score:
    """A score that has no value, and why."""
    return Score(name, None, n, reason=reason)


def grouped_mean_scores(
    name: str, predictions: Sequence[Prediction], value_of: Callable[[Prediction], float | None], *, absent: str
) -> list[Score]:
    """The overall mean, then one mean per group in alphabetical order, named `name/group`."""
    groups: dict[str, array[float]] = {}
    overall = array("d")
    for prediction in predictions:
        value = value_of(prediction)
        if value is None:
            continue
        overall.append(value)
        if prediction.group is not None:
            groups.setdefault(prediction.group, array("d")).append(value)
    scores = [mean_score(name, overall, absent=absent)]
    scores += [mean_score(f"{name}/{group_name(group)}", groups[group], absent=absent) for group in sorted(groups)]
    return scores


def group_name(group: str) -> str:
    """A group's name as part of a metric's name, where a slash already means "by": `yes/no` becomes `yes-no`."""
    return group.replace("/", "-")
