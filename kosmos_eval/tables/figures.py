"""One figure of one row: a metric over the seeds of a run, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kosmos_eval.metrics.base import PER_CENT
from kosmos_eval.metrics.statistics import Interval, bootstrap_interval, mean_error, scaled, wilson_interval
from kosmos_eval.tables.runs import FinishedRun, aligned

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Figure:
    """A score on the papers' scale. `n` counts each sample once, however many seeds asked it."""

    score: float | None
    n: int
    stderr: float | None = None
    interval: Interval | None = None
    seed_sd: float | None = None
    reason: str | None = None


def figure(runs: Sequence[FinishedRun], metric: str) -> Figure:
    """The metric over the runs, which differ in their seed: of a mean over samples the mean of all seeds' values, of
    another figure the mean of the seeds' figures. Undefined where one seed's is.

    The interval is Wilson's for right and wrong answers of one seed, the bootstrap's for other means, DeLong's for
    areas; other figures have none.
    """
    stored = [run.figures.get(metric) for run in runs]
    n = max(score["n"] for score in stored if score is not None)
    for run, score in zip(runs, stored, strict=True):
        reason = "it is not scored" if score is None else score["reason"] if score["value"] is None else None
        if reason is not None:
            return Figure(None, n, reason=reason if len(runs) == 1 else f"seed {run.manifest.seed}: {reason}")
    if len({score["rule"] for score in stored if score and "rule" in score}) > 1:
        return Figure(None, n, reason="the seeds are scored by different rules; `kosmos-eval rescore` settles it")
    values = [score["value"] for score in stored if score is not None]
    spread = _spread(values)
    columns = [run.mean_values(metric) for run in runs]
    if all(column is not None for column in columns):
        return _mean([column for column in columns if column is not None], spread)
    margins = [run.margins(metric) for run in runs]
    if all(table is not None for table in margins):
        return _area([table for table in margins if table is not None], spread)
    error = stored[0]["stderr"] if len(runs) == 1 and stored[0] is not None else None
    return Figure(sum(values) / len(values), n, error, seed_sd=spread)


def _mean(columns: Sequence[pd.Series], spread: float | None) -> Figure:
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
    return Figure(PER_CENT * mean, n, error, scaled(interval), spread)


def _area(margins: Sequence[pd.DataFrame], spread: float | None) -> Figure:
    import numpy as np

    from kosmos_eval.metrics.delong import area

    ids, scores = aligned([table["margin"] for table in margins], -np.inf)
    positive = (aligned([table["label"] for table in margins], 0.0)[1] == 1).any(axis=0)
    found = area(positive, scores)
    return Figure(PER_CENT * found.value, len(ids), PER_CENT * found.error, scaled(found.interval()), spread)


def _binary(values: NDArray[np.float64]) -> bool:
    import numpy as np

    return bool(np.isin(values, (0.0, 1.0)).all())


def _spread(values: Sequence[float]) -> float | None:
    """Standard deviation between seeds; None of one."""
    import statistics

    return statistics.stdev(values) if len(values) > 1 else None
