"""How sure an area under the ROC curve is, and whether two differ: DeLong, DeLong and Clarke-Pearson 1988
(Biometrics 44:837-845), by midranks as in Sun and Xu 2014 (IEEE Signal Processing Letters 21:1389-1393).

Scores are arrays of shape (seeds, samples); the area is the mean of the seeds' areas, as the scores of two seeds have
no common scale. A sample that a seed did not ask is minus infinity there. With several seeds the variance is clustered
by sample: what the seeds say of one sample is summed before it is squared. With one seed it is DeLong's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kosmos_eval.metrics.statistics import BATCH_CELLS, CONFIDENCE, RESAMPLES, Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


MIN_MEMBERS = 2
"""Samples of each class, below which nothing is known of the variance."""


@dataclass(frozen=True, slots=True)
class Area:
    """An area, or a difference of two, from 0 to 1, with its standard error (0 below `MIN_MEMBERS`: not known)."""

    value: float
    error: float

    @property
    def p_value(self) -> float:
        """Two-sided p of being zero."""
        from scipy.stats import norm

        return float(2 * norm.sf(abs(self.value) / self.error)) if self.error else float(self.value == 0)

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """The normal interval, within what an area can be."""
        from scipy.stats import norm

        half = float(norm.ppf((1 + confidence) / 2)) * self.error
        return Interval(max(0.0, self.value - half), min(1.0, self.value + half), confidence)


def areas(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The areas along the last axis; NaN where one class is not there. `positive` is broadcast."""
    import numpy as np
    from scipy.stats import rankdata

    there = scores > -np.inf
    members = there & positive
    positives, all_there = members.sum(axis=-1), there.sum(axis=-1)
    # Who is not there has the lowest ranks, which each positive is ahead of, and of the positives below it.
    ahead = positives * (scores.shape[-1] - all_there) + positives * (positives + 1) / 2
    ranks = (rankdata(scores, axis=-1) * members).sum(axis=-1)
    pairs = positives * (all_there - positives)
    return np.divide(ranks - ahead, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def area(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> Area:
    """The area of one model's scores."""
    return Area(float(areas(scores, positive).mean()), _error(positive, _influence(positive, scores)))


def area_difference(positive: NDArray[np.bool_], a: NDArray[np.float64], b: NDArray[np.float64]) -> Area:
    """The area of b minus that of a, on the same samples."""
    value = float(areas(b, positive).mean() - areas(a, positive).mean())
    return Area(value, _error(positive, _influence(positive, b) - _influence(positive, a)))


def bootstrap_difference(
    positive: NDArray[np.bool_],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Paired percentile bootstrap interval of the area of b minus that of a: samples drawn whole, class by class."""
    import warnings

    import numpy as np
    from scipy.stats import DegenerateDataWarning, bootstrap

    def difference(ones: NDArray[np.int64], zeros: NDArray[np.int64], axis: int) -> NDArray[np.float64]:
        drawn = np.concatenate([ones, zeros], axis=-1)
        labels = np.arange(drawn.shape[-1]) < ones.shape[-1]
        # (seeds, samples) indexed by (resamples, samples) gives (seeds, resamples, samples)
        return (areas(b[:, drawn], labels) - areas(a[:, drawn], labels)).mean(axis=0)

    with warnings.catch_warnings():
        # Said where all draws are alike, of an interval that is not used: the distribution is.
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap(
            (np.flatnonzero(positive), np.flatnonzero(~positive)),
            difference,
            n_resamples=resamples,
            batch=max(1, BATCH_CELLS // a.size),
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    low, high = np.nanquantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), confidence)


def _influence(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each sample adds to the area's deviation from its mean, summed over seeds; shape (samples,)."""
    import numpy as np
    from scipy.stats import rankdata

    total = np.zeros(len(positive))
    for row in scores:
        there = row > -np.inf
        overall = np.zeros(len(row))
        overall[there] = rankdata(row[there])
        ones, zeros = there & positive, there & ~positive
        for members, others, sign in ((ones, zeros, 1), (zeros, ones, -1)):
            ahead_of = (overall[members] - rankdata(row[members])) / others.sum()
            total[members] += sign * (ahead_of - ahead_of.mean()) / members.sum()
    return total / len(scores)


def _error(positive: NDArray[np.bool_], influence: NDArray[np.float64]) -> float:
    """From the influences: each class's sum of squares, with DeLong's division by one less than its size."""
    variance = 0.0
    for members in (positive, ~positive):
        n = int(members.sum())
        if n > 1:
            variance += float((influence[members] ** 2).sum()) * n / (n - 1)
    return variance**0.5
