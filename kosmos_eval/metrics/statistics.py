"""How sure a score is, and whether two runs differ: all by scipy, so that nobody has to trust our arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 2000
_BATCH_CELLS = 4_000_000
"""How many resampled values scipy may hold at once: 32 MB, whatever the size of the split."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, on the scale of the values it was made from."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two runs on the same samples: mean of b - a, the interval where the test has one, and the two-sided p."""

    difference: float
    p_value: float
    n: int
    interval: Interval | None = None


def standard_error(values: Sequence[float]) -> float | None:
    """Standard error of the mean (normal approximation); `None` of fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.stats import sem

    return float(sem(values))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval | None:
    """Wilson's score interval of a proportion; `None` of no trials."""
    if n == 0:
        return None
    from scipy.stats import binomtest

    found = binomtest(successes, n).proportion_ci(confidence_level=confidence, method="wilson")
    return Interval(float(found.low), float(found.high), confidence)


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval | None:
    """Percentile bootstrap interval of the mean; the same seed gives the same interval. `None` of fewer than two."""
    if len(values) < 2:
        return None
    import numpy as np
    from scipy.stats import bootstrap

    found = bootstrap(
        (np.asarray(values, dtype=float),),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _BATCH_CELLS // len(values)),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high), confidence)


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> PairedTest | None:
    """Exact McNemar test of right/wrong answers of two runs: the discordant pairs against a fair coin.

    Without discordant pairs there is nothing to tell the runs apart by: p = 1. `None` of no samples.
    """
    _same_length(a, b)
    if not a:
        return None
    from scipy.stats import binomtest

    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    discordant = only_a + only_b
    p_value = float(binomtest(only_b, discordant, 0.5).pvalue) if discordant else 1.0
    return PairedTest((only_b - only_a) / len(a), p_value, len(a))


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> PairedTest | None:
    """Paired bootstrap of the mean of b - a, samples resampled whole; `None` of fewer than two samples.

    p is twice the smaller share of resampled means on one side of zero (one resample counted as the observed one, so
    that p is never 0): Efron and Tibshirani 1993, chapter 15.
    """
    _same_length(a, b)
    if len(a) < 2:
        return None
    import numpy as np
    from scipy.stats import bootstrap

    differences = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
    result = bootstrap(
        (differences,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _BATCH_CELLS // len(a)),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    means = result.bootstrap_distribution
    below = (1 + int(np.sum(means <= 0))) / (resamples + 1)
    above = (1 + int(np.sum(means >= 0))) / (resamples + 1)
    found = result.confidence_interval
    interval = Interval(float(found.low), float(found.high), confidence)
    return PairedTest(float(differences.mean()), min(1.0, 2 * min(below, above)), len(a), interval)


def _same_length(a: Sequence[object], b: Sequence[object]) -> None:
    if len(a) != len(b):
        raise ValueError(f"a paired test needs the same samples in both runs: {len(a)} and {len(b)} given")
