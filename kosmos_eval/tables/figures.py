"""One figure of one row: a metric over the seeds of a run and the orders of its demonstrations, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kosmos_eval.metrics.base import PER_CENT
from kosmos_eval.metrics.statistics import Interval, bootstrap_interval, mean_error, scaled, wilson_interval
from kosmos_eval.tables.runs import FinishedRun, aligned

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


_NO_MEAN = {"binomial_p": "a p of several runs is no mean of theirs; see each run's (`--per-seed`)"}
"""Figures that are not averaged over seeds and orders, and why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A score on the papers' scale. `n` counts each sample once, however many seeds and orders asked it."""

    score: float | None
    n: int
    stderr: float | None = None
    interval: Interval | None = None
    seed_sd: float | None = None
    order_sd: float | None = None
    reason: str | None = None


def figure(runs: Sequence[FinishedRun], metric: str) -> Figure:
    """The metric over the runs, which differ in seed or order: of a mean over samples the mean of all runs' values, of
    another figure the mean of the runs' figures. Undefined where one run's is.

    The interval is Wilson's for right and wrong answers of one run, the bootstrap's for other means, DeLong's for
    areas; other figures have none.
    """
    stored = [run.figures.get(metric) for run in runs]
    n = max(score["n"] for score in stored if score is not None)
    reasons = [_undefined(score) for score in stored]
    if any(reasons):
        run, reason = next((run, reason) for run, reason in zip(runs, reasons, strict=True) if reason)
        return Figure(None, n, reason=reason if len(set(reasons)) == 1 else f"{_which(run)}: {reason}")
    if len({score["rule"] for score in stored if score and "rule" in score}) > 1:
        return Figure(None, n, reason="the seeds are scored by different rules; `kosmos-eval rescore` settles it")
    values = [score["value"] for score in stored if score is not None]
    seed_sd, order_sd = _spreads(runs, values)
    return replace(_pooled(runs, metric, values), seed_sd=seed_sd, order_sd=order_sd)


def _undefined(score: Mapping[str, Any] | None) -> str | None:
    """Why a stored score has no value."""
    if score is None:
        return "it is not scored"
    return str(score["reason"]) if score["value"] is None else None


def _which(run: FinishedRun) -> str:
    order = f", order {run.manifest.order}" if run.manifest.order else ""
    return f"seed {run.manifest.seed}{order}"


def _pooled(runs: Sequence[FinishedRun], metric: str, values: Sequence[float]) -> Figure:
    columns = [run.mean_values(metric) for run in runs]
    if all(column is not None for column in columns):
        return _mean([column for column in columns if column is not None])
    margins = [run.margins(metric) for run in runs]
    if all(table is not None for table in margins):
        return _area([table for table in margins if table is not None])
    n = max(run.figures[metric]["n"] for run in runs)
    if metric in _NO_MEAN and len(runs) > 1:
        return Figure(None, n, reason=_NO_MEAN[metric])
    error = runs[0].figures[metric]["stderr"] if len(runs) == 1 else None
    return Figure(sum(values) / len(values), n, error)


def _mean(columns: Sequence[pd.Series]) -> Figure:
    import numpy as np

    ids, values = aligned(columns, np.nan)
    sums, counts = np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0)
    mean = float(sums.sum() / counts.sum())
    if len(columns) == 1 and _binary(values):
        interval = wilson_interval(int(sums.sum()), len(ids))
    else:
        interval = bootstrap_interval(sums, counts)
    n = len(ids)
    error = PER_CENT * mean_error(sums, counts, mean) * (n / (n - 1)) ** 0.5 if n > 1 else None
    return Figure(PER_CENT * mean, n, error, scaled(interval))


def _area(margins: Sequence[pd.DataFrame]) -> Figure:
    import numpy as np

    from kosmos_eval.metrics.delong import MIN_MEMBERS, area

    ids, scores = aligned([table["margin"] for table in margins], -np.inf)
    positive = (aligned([table["label"] for table in margins], 0.0)[1] == 1).any(axis=0)
    found = area(positive, scores)
    if min(positive.sum(), (~positive).sum()) < MIN_MEMBERS:
        return Figure(PER_CENT * found.value, len(ids))
    return Figure(PER_CENT * found.value, len(ids), PER_CENT * found.error, scaled(found.interval()))


def _binary(values: NDArray[np.float64]) -> bool:
    import numpy as np

    return bool(np.isin(values, (0.0, 1.0)).all())


def _spreads(runs: Sequence[FinishedRun], values: Sequence[float]) -> tuple[float | None, float | None]:
    """Standard deviations: between the seeds' means over their orders, and between the orders of one seed, whose
    variances are averaged over the seeds with their degrees of freedom. None where there is one only."""
    import statistics

    by_seed: dict[int, list[float]] = {}
    for run, value in zip(runs, values, strict=True):
        by_seed.setdefault(run.manifest.seed, []).append(value)
    means = [statistics.fmean(own) for own in by_seed.values()]
    freedom = len(values) - len(by_seed)
    squares = sum((value - mean) ** 2 for mean, own in zip(means, by_seed.values(), strict=True) for value in own)
    return statistics.stdev(means) if len(means) > 1 else None, (squares / freedom) ** 0.5 if freedom else None
