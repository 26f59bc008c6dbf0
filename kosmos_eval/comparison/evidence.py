"""What a pair of runs says: the difference on the samples both answered, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kosmos_eval.comparison.pairing import Pair
from kosmos_eval.metrics.base import PER_CENT
from kosmos_eval.metrics.delong import MIN_MEMBERS, area_difference, areas, bootstrap_difference
from kosmos_eval.metrics.statistics import (
    Interval,
    bootstrap_interval,
    mcnemar,
    mean_error,
    samples_needed,
    scaled,
    sign_flip_test,
)
from kosmos_eval.tables.runs import aligned

if TYPE_CHECKING:
    import pandas as pd

MCNEMAR, SIGN_FLIP, DELONG = "McNemar (exact)", "sign flips", "DeLong"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One comparison of two runs, or of several seeds of them; differences are variant minus baseline, times 100."""

    n: int
    """Samples that both answered, each counted once."""
    excluded: int
    """Samples that were asked but not answered by both, each seed's counted."""
    scores: tuple[float, float]
    difference: float
    interval: Interval | None
    p_value: float
    test: str
    needed: int | None
    """Samples it would take to see such a difference with 80 % power; None where there is no difference."""
    flips: tuple[int, int, int, int] | None
    """Answers both right, only the baseline's, only the variant's, both wrong; None for graded answers."""
    moved: tuple[int, int, int] | None
    """Answers worse, equal and better than the baseline's; None for an area, which has no value per sample."""


def evidence(pair: Pair, metric: str) -> Evidence | str:
    """What a pair says by one metric; or why it says nothing."""
    for run in (*pair.baseline, *pair.variant):
        figure = run.figures.get(metric)
        if figure is None:
            return f"no {metric} in {run.name}"
        if figure["value"] is None:
            return f"{metric} is undefined in {run.name}: {figure['reason']}"
    sides = zip(pair.baseline, pair.variant, strict=True)
    margins = [(a.margins(metric), b.margins(metric)) for a, b in sides]
    if all(a is not None and b is not None for a, b in margins):
        return _areas(pair, metric, margins)  # type: ignore[arg-type]
    columns = [(a.mean_values(metric), b.mean_values(metric)) for a, b in zip(pair.baseline, pair.variant, strict=True)]
    if any(a is None or b is None for a, b in columns):
        return f"{metric} is no mean of values that are stored for each sample; `kosmos-eval rescore` may store them"
    return _means(pair, metric, columns)  # type: ignore[arg-type]


def _means(pair: Pair, metric: str, columns: list[tuple[pd.Series, pd.Series]]) -> Evidence | str:
    import numpy as np

    columns = [(a[a.index.isin(b.index)], b[b.index.isin(a.index)]) for a, b in columns]
    ids, a = aligned([a for a, _ in columns], np.nan)
    _, b = aligned([b for _, b in columns], np.nan)
    if not len(ids):
        return "no sample was answered by both"
    both = ~np.isnan(a)
    a, b = np.where(both, a, 0.0), np.where(both, b, 0.0)
    sums, counts = (b - a).sum(axis=0), both.sum(axis=0)
    total = int(counts.sum())
    binary = bool(np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all())
    worse, better = int((b < a).sum()), int((b > a).sum())
    exact = binary and len(pair.baseline) == 1
    difference = float(sums.sum() / total)
    null_error, error = mean_error(sums, counts, 0.0), mean_error(sums, counts, difference)
    return Evidence(
        n=len(ids),
        excluded=_excluded(pair, metric, total),
        scores=(PER_CENT * float(a.sum() / total), PER_CENT * float(b.sum() / total)),
        difference=PER_CENT * difference,
        interval=scaled(bootstrap_interval(sums, counts)),
        p_value=mcnemar(worse, better) if exact else sign_flip_test(sums),
        test=MCNEMAR if exact else SIGN_FLIP,
        needed=samples_needed(len(ids), difference, null_error, error),
        flips=(int((both & (a + b == 2)).sum()), worse, better, int((both & (a + b == 0)).sum())) if binary else None,
        moved=(worse, total - worse - better, better),
    )


def _areas(pair: Pair, metric: str, margins: list[tuple[pd.DataFrame, pd.DataFrame]]) -> Evidence | str:
    import numpy as np

    margins = [(a[a.index.isin(b.index)], b[b.index.isin(a.index)]) for a, b in margins]
    ids, a = aligned([a["margin"] for a, _ in margins], -np.inf)
    _, b = aligned([b["margin"] for _, b in margins], -np.inf)
    positive = (aligned([a["label"] for a, _ in margins], 0)[1] == 1).any(axis=0)
    if min(positive.sum(), (~positive).sum()) < MIN_MEMBERS:
        return f"the samples that both answered have fewer than {MIN_MEMBERS} of a class"
    there = np.isfinite(a)
    if not ((there & positive).any(axis=1) & (there & ~positive).any(axis=1)).all():
        return "the samples that both answered are of one class under one of the seeds"
    found = area_difference(positive, a, b)
    return Evidence(
        n=len(ids),
        excluded=_excluded(pair, metric, int(there.sum())),
        scores=(PER_CENT * float(areas(a, positive).mean()), PER_CENT * float(areas(b, positive).mean())),
        difference=PER_CENT * found.value,
        interval=scaled(bootstrap_difference(positive, a, b)),
        p_value=found.p_value,
        test=DELONG,
        needed=samples_needed(len(ids), found.value, found.error, found.error),
        flips=None,
        moved=None,
    )


def _excluded(pair: Pair, metric: str, compared: int) -> int:
    return sum(run.asked_for(metric) for run in pair.baseline) - compared
