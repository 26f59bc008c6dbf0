"""The statistics against scipy, statsmodels and simulation; nothing here knows a run."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import bootstrap, permutation_test
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_confint

from kosmos_eval.metrics.delong import area, area_difference, areas, bootstrap_difference
from kosmos_eval.metrics.statistics import (
    Interval,
    bootstrap_interval,
    holm,
    mcnemar,
    mean_error,
    samples_needed,
    sign_flip_test,
    standard_error,
    wilson_interval,
)

Floats = NDArray[np.float64]
SIMULATIONS = 1000
GRADES = np.array([0.0, 0.3, 0.6, 0.9, 1.0])


def test_standard_error() -> None:
    assert standard_error([1.0]) is None
    values = [0.0, 1.0, 1.0, 0.0]
    assert standard_error(values) == pytest.approx(math.sqrt(0.25 / 3))
    assert mean_error(values, np.ones(4), 0.5) == pytest.approx(math.sqrt(0.25 / 4))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_statsmodels(trials: tuple[int, int]) -> None:
    found = wilson_interval(*trials)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(proportion_confint(*trials, method="wilson"), abs=1e-9)
    assert wilson_interval(0, 0) is None


@given(st.integers(0, 80), st.integers(0, 80))
def test_mcnemar_is_statsmodels(only_a: int, only_b: int) -> None:
    if only_a + only_b == 0:
        assert mcnemar(0, 0) == 1.0
        return
    expected = reference_mcnemar([[5, only_a], [only_b, 7]], exact=True).pvalue
    assert mcnemar(only_a, only_b) == pytest.approx(min(1.0, expected), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.3, 0.0, 0.3, 0.6, 2.5]), min_size=2, max_size=9))
def test_sign_flips_of_few_samples_are_scipys_exact_test(differences: list[float]) -> None:
    reference = permutation_test((np.array(differences),), np.sum, permutation_type="samples", vectorized=True)
    assert sign_flip_test(differences) == pytest.approx(min(1.0, reference.pvalue), abs=1e-12)


@pytest.mark.parametrize("draw", [lambda rng, n: rng.choice([-1.0, 0.0, 1.0], n), lambda rng, n: rng.normal(0, 1, n)])
def test_sign_flips_of_many_samples_are_scipys(draw: Callable[[np.random.Generator, int], Floats]) -> None:
    differences = draw(np.random.default_rng(3), 120) + 0.1
    reference = permutation_test(
        (differences,), np.sum, permutation_type="samples", vectorized=True, n_resamples=4999, rng=1
    )
    assert sign_flip_test(differences) == pytest.approx(reference.pvalue, abs=0.02)
    assert sign_flip_test(differences) == sign_flip_test(differences)


@pytest.mark.parametrize("values", [GRADES[np.arange(400) % 5], np.random.default_rng(0).exponential(1, 150)])
def test_bootstrap_is_scipys(values: Floats) -> None:
    reference = bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=5).confidence_interval
    found = bootstrap_interval(values)
    assert found == bootstrap_interval(values)
    assert found is not None
    spread = reference.high - reference.low
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=0.06 * spread)


def test_bootstrap_of_little() -> None:
    assert bootstrap_interval([1.0]) is None
    assert bootstrap_interval([1.0, 1.0, 1.0]) == Interval(1.0, 1.0)


def binary(rng: np.random.Generator) -> tuple[Floats, Floats, float]:
    """A hundred answers right 50 and 60 times of a hundred, correlated."""
    both = rng.random(100)
    a, b = both < 0.5, np.where(rng.random(100) < 0.7, both, rng.random(100)) < 0.6
    return b.astype(float) - a, np.ones(100), 0.1


def graded(rng: np.random.Generator) -> tuple[Floats, Floats, float]:
    """VQA accuracies of 300 questions."""
    a, b = rng.choice(GRADES, 300, p=[0.4, 0.2, 0.1, 0.1, 0.2]), rng.choice(GRADES, 300, p=[0.3, 0.2, 0.1, 0.1, 0.3])
    return b - a, np.ones(300), 0.1


def seeds(rng: np.random.Generator) -> tuple[Floats, Floats, float]:
    """Three seeds of 250 questions whose answers mostly repeat; one seed in four did not ask."""
    own, asked = rng.random(250) < 0.6, rng.random((3, 250)) < 0.75
    flips = rng.random((3, 250)) < 0.1
    b = np.where(flips, ~own, own)
    a = rng.random((3, 250)) < 0.5
    kept = asked.any(axis=0)
    return ((b.astype(float) - a) * asked).sum(axis=0)[kept], asked.sum(axis=0)[kept], 0.6 * 0.9 + 0.4 * 0.1 - 0.5


def captions(rng: np.random.Generator) -> tuple[Floats, Floats, float]:
    """CIDEr of 100 images: skewed, no two alike."""
    own = rng.gamma(1.0, 0.5, 100)
    return own * rng.uniform(0.5, 1.7, 100) - own, np.ones(100), 0.05


@pytest.mark.parametrize("draw", [binary, graded, seeds, pytest.param(captions, marks=pytest.mark.slow)])
def test_intervals_cover(draw: Callable[[np.random.Generator], tuple[Floats, Floats, float]]) -> None:
    rng = np.random.default_rng(20)
    covered = 0
    for _ in range(SIMULATIONS):
        sums, counts, truth = draw(rng)
        found = bootstrap_interval(sums, counts)
        assert found is not None
        covered += found.low <= truth <= found.high
    print(f"{draw.__name__}: {100 * covered / SIMULATIONS:.1f} % covered")
    assert 0.93 <= covered / SIMULATIONS <= 0.97


def test_seeds_that_repeat_themselves_are_not_more_evidence() -> None:
    once = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], 200)
    single, thrice = bootstrap_interval(once), bootstrap_interval(3 * once, np.full(200, 3))
    assert single == thrice
    assert sign_flip_test(once) == sign_flip_test(3 * once)
    assert mean_error(3 * once, np.full(200, 3), 0.0) == pytest.approx(mean_error(once, np.ones(200), 0.0))


@given(st.floats(0.05, 1.0), st.integers(10, 1000))
def test_samples_needed_is_statsmodels(effect: float, n: int) -> None:
    power = NormalIndPower(ddof=0)
    needed = samples_needed(n, effect, 1 / math.sqrt(n), 1 / math.sqrt(n))
    assert needed is not None
    # `ratio=0` is the one-sample test; of the two tails only the near one counts, as in the formula
    expected = power.solve_power(effect_size=effect, alpha=0.025, power=0.8, ratio=0, alternative="larger")
    assert needed == max(2, math.ceil(expected - 1e-6))


def test_samples_needed_give_that_power() -> None:
    only_a, only_b = 0.10, 0.22
    null_error, error = math.sqrt(only_a + only_b), math.sqrt(only_a + only_b - (only_b - only_a) ** 2)
    n = samples_needed(1, only_b - only_a, null_error, error)
    assert n is not None
    counts = np.random.default_rng(2).multinomial(n, [only_a, only_b, 1 - only_a - only_b], size=SIMULATIONS)
    seen = np.mean([mcnemar(int(a), int(b)) < 0.05 for a, b, _ in counts])
    assert 0.72 <= seen <= 0.84  # the exact test keeps below its level, so it sees a little less
    assert samples_needed(100, 0.0, 0.1, 0.1) is None


coarse = st.sampled_from([-2.0, -1.0, 0.0, 0.5])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(coarse, coarse, st.booleans()), min_size=4, max_size=30))
def test_areas_are_scikit_learns_and_errors_delongs(rows: list[tuple[float, float, bool]]) -> None:
    a, b, labels = (np.array(column) for column in zip(*rows, strict=True))
    if min(labels.sum(), (~labels).sum()) < 2:
        assert np.isnan(areas(a, labels)) or labels.any()
        return
    found = area_difference(labels, a[None], b[None])
    assert found.value == pytest.approx(roc_auc_score(labels, b) - roc_auc_score(labels, a))
    assert found.error**2 == pytest.approx(delong_by_definition(labels, a, b), abs=1e-12)


def delong_by_definition(labels: NDArray[np.bool_], a: Floats, b: Floats) -> float:
    """The variance of the difference, from all pairs: equations 4 to 8 of DeLong et al."""
    psi = [
        np.where(s[labels][:, None] == s[~labels], 0.5, s[labels][:, None] > s[~labels]).astype(float) for s in (a, b)
    ]
    s10, s01 = np.cov([p.mean(axis=1) for p in psi]), np.cov([p.mean(axis=0) for p in psi])
    s = s10 / labels.sum() + s01 / (~labels).sum()
    return float(s[0, 0] + s[1, 1] - 2 * s[0, 1])


def memes(rng: np.random.Generator, n: int, seeds: int = 1) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """Two correlated models' margins on the same samples; the second is the better one."""
    labels = rng.random(n) < 0.5
    shared = rng.normal(0, 1, n) + 0.4 * labels
    return labels, shared + rng.normal(0, 1, (seeds, n)), shared + 0.3 * labels + rng.normal(0, 1, (seeds, n))


@pytest.mark.parametrize("seeds", [1, 3])
def test_delong_agrees_with_the_bootstrap(seeds: int) -> None:
    labels, a, b = memes(np.random.default_rng(4), 400, seeds)
    found, interval = area_difference(labels, a, b), bootstrap_difference(labels, a, b)
    half = (interval.high - interval.low) / 2
    assert half == pytest.approx(1.96 * found.error, rel=0.06)
    assert (interval.high + interval.low) / 2 == pytest.approx(found.value, abs=0.1 * half)


def test_delong_of_repeated_seeds_is_that_of_one() -> None:
    labels, a, b = memes(np.random.default_rng(5), 100)
    once, thrice = area_difference(labels, a, b), area_difference(labels, np.repeat(a, 3, 0), np.repeat(b, 3, 0))
    assert (once.value, once.error) == (pytest.approx(thrice.value), pytest.approx(thrice.error))
    unasked = np.concatenate([a, np.where(np.arange(100) < 50, -np.inf, a)])
    halves = [roc_auc_score(labels, a[0]), roc_auc_score(labels[50:], a[0, 50:])]
    assert area(labels, unasked).value == pytest.approx(np.mean(halves))
    same = area_difference(labels, a, a)
    assert (same.value, same.p_value) == (0.0, 1.0)


def test_delong_keeps_its_level() -> None:
    rng = np.random.default_rng(6)
    rejected = 0
    for _ in range(SIMULATIONS):
        labels = rng.random(120) < 0.5
        shared = rng.normal(0, 1, 120) + 0.5 * labels
        a, b = (shared + rng.normal(0, 1, (1, 120)) for _ in range(2))
        rejected += area_difference(labels, a, b).p_value < 0.05
    assert 0.035 <= rejected / SIMULATIONS <= 0.065


@pytest.mark.slow
def test_intervals_of_areas_cover() -> None:
    from scipy.stats import norm

    truth = norm.cdf(0.7 / 2) - norm.cdf(0.4 / 2)
    rng = np.random.default_rng(7)
    covered = {"bootstrap": 0, "DeLong": 0}
    for _ in range(SIMULATIONS):
        labels, a, b = memes(rng, 120)
        interval, found = bootstrap_difference(labels, a, b), area_difference(labels, a, b)
        covered["bootstrap"] += interval.low <= truth <= interval.high
        covered["DeLong"] += abs(found.value - truth) <= 1.96 * found.error
    print(covered)
    assert all(930 <= count <= 970 for count in covered.values())
