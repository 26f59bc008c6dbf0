"""How sure a figure is, and whether two differ.

Everything is clustered by sample: where several seeds asked the same sample, its answers go together, as one. scipy is
used where it has the method; what is written here is tested against scipy or statsmodels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kosmos_eval.metrics.base import PER_CENT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000
PERMUTATIONS = 9999
CONFIDENCE = 0.95
POWER = 0.8
BATCH_CELLS = 4_000_000
"""How many resampled values are held at once: 32 MB, whatever the size of the split."""
_FEW = 16
"""Values are counted instead of copied where so many times fewer are distinct."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, on the scale of the values it was made from."""

    low: float
    high: float
    confidence: float = CONFIDENCE


def standard_error(values: Sequence[float]) -> float | None:
    """Standard error of the mean (normal approximation); `None` of fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.stats import sem

    return float(sem(values))


def mean_error(sums: ArrayLike, counts: ArrayLike, mean: float) -> float:
    """Standard error of sum(sums) / sum(counts) about `mean`, clustered; arguments as of `bootstrap_interval`."""
    import numpy as np

    deviations = np.asarray(sums) - mean * np.asarray(counts)
    return float(np.sqrt((deviations**2).sum()) / np.sum(counts))


def scaled(interval: Interval | None, factor: float = PER_CENT) -> Interval | None:
    """The interval on the papers' scale."""
    return None if interval is None else replace(interval, low=factor * interval.low, high=factor * interval.high)


def wilson_interval(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval | None:
    """Wilson's score interval of a proportion; `None` of no trials."""
    if n == 0:
        return None
    from scipy.stats import binomtest

    found = binomtest(successes, n).proportion_ci(confidence_level=confidence, method="wilson")
    return Interval(float(found.low), float(found.high), confidence)


def bootstrap_interval(
    sums: ArrayLike,
    counts: ArrayLike | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """Percentile bootstrap interval of sum(sums) / sum(counts), clusters resampled whole: `sums` and `counts`, shape
    (clusters,), are of each cluster's values. Without `counts` every value is a cluster: the interval of the mean.

    The same seed gives the same interval. `None` of fewer than two clusters.
    """
    import numpy as np

    pairs = np.stack([sums, np.ones(np.shape(sums)) if counts is None else counts], axis=1).astype(float)
    if len(pairs) < 2:
        return None
    rng = np.random.default_rng(seed)
    distinct, frequency = np.unique(pairs.round(12), axis=0, return_counts=True)  # 0.9 - 0.6 is 0.3
    if len(distinct) * _FEW <= len(pairs):
        # Resampling n values is drawing how often each distinct one comes: 13 numbers for a VQA accuracy, not 214,354.
        totals = rng.multinomial(len(pairs), frequency / len(pairs), size=resamples) @ distinct
        means = totals[:, 0] / totals[:, 1]
    else:
        means = _resampled(pairs, resamples, rng)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), confidence)


def _resampled(pairs: NDArray[np.float64], resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    from scipy.stats import bootstrap

    return bootstrap(
        (pairs[:, 0], pairs[:, 1]),
        lambda sums, counts, axis: sums.sum(axis=axis) / counts.sum(axis=axis),
        paired=True,
        n_resamples=resamples,
        batch=max(1, BATCH_CELLS // len(pairs)),
        method="percentile",
        rng=rng,
    ).bootstrap_distribution


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p of the exact McNemar test: the discordant pairs against a fair coin; 1 where there are none."""
    from scipy.stats import binomtest

    return float(binomtest(only_b, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0


def sign_flip_test(differences: ArrayLike, permutations: int = PERMUTATIONS, seed: int = 0) -> float:
    """Two-sided p of the paired permutation test: were either run as likely the better one, for each cluster.

    `differences`, shape (clusters,), are the clusters' summed differences. All sign flips are tried where they are not
    more than `permutations`; else so many are drawn, and the observed one counts as one of them. scipy's
    `permutation_test` gives the same p, in minutes where this takes a second.
    """
    import numpy as np

    sizes = np.abs(np.asarray(differences, dtype=float))
    observed = abs(float(np.sum(differences)))
    sizes, frequency = np.unique(sizes[sizes > 0], return_counts=True)
    total = int(frequency.sum())
    if not total:
        return 1.0
    enough = observed - 1e-9 * float(sizes @ frequency)
    if 2**total <= permutations:
        flips = np.arange(2**total)[:, None] >> np.arange(total) & 1
        sums = (1 - 2 * flips) @ np.repeat(sizes, frequency)
        return float(np.mean(np.abs(sums) >= enough))
    rng = np.random.default_rng(seed)
    as_extreme = 0
    for batch in _batches(permutations, len(sizes)):
        if len(sizes) * _FEW <= total:  # how many of the equal ones are flipped is all that matters
            signed = frequency - 2 * rng.binomial(frequency, 0.5, size=(batch, len(sizes)))
            sums = signed @ sizes
        else:
            flips = rng.integers(0, 2, size=(batch, total), dtype=np.int8)
            sums = (1 - 2 * flips) @ np.repeat(sizes, frequency)
        as_extreme += int(np.sum(np.abs(sums) >= enough))
    return (1 + as_extreme) / (permutations + 1)


def _batches(total: int, width: int) -> list[int]:
    size = max(1, BATCH_CELLS // width)
    return [min(size, total - start) for start in range(0, total, size)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values of a family of tests, in the order given."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def samples_needed(
    n: int, difference: float, null_error: float, error: float, power: float = POWER, confidence: float = CONFIDENCE
) -> int | None:
    """How many samples such a difference would take to be seen with this power, by a two-sided test.

    `error` is the difference's standard error at `n` samples, `null_error` the same were there no difference. For right
    and wrong answers it is Connor's formula for McNemar's test (1987, Biometrics 43:207-211). `None` of no difference.
    """
    from scipy.stats import norm

    if not difference:
        return None
    deviations = norm.ppf((1 + confidence) / 2) * null_error + norm.ppf(power) * error
    return max(2, int(-(-n * (deviations / difference) ** 2 // 1)))
