"""Geometry of the charts: where on the paper a figure lies. The template draws what is worked out here, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale from values to places, with round ticks inside it."""

    low: float
    high: float
    start: float
    end: float
    """Places of `low` and `high`, in SVG units."""
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """The place of a value; one beyond the ends lies on the end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def label(self, tick: float) -> str:
        """A tick's figure, with as many decimals as its step needs and a true minus sign."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{tick + 0.0:.{decimals}f}".replace("-", "−")


def axis(values: Sequence[float], start: float, end: float, *, most_ticks: int = 5) -> Axis:
    """A scale that holds all values, from one round tick to another."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 1, high + 1
    step = _step((high - low) / (most_ticks - 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(k * step, 10) for k in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], start, end, ticks)


def _step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not less."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= least - 1e-12)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval, on the papers' scale; the ends are None where the metric has no interval."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0

    @property
    def extent(self) -> tuple[float, ...]:
        return tuple(v for v in (self.low, self.value, self.high) if v is not None)


@dataclass(frozen=True, slots=True)
class Point:
    """An estimate on a panel, in SVG units."""

    x: float
    y: float
    top: float | None
    bottom: float | None
    shots: int
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Series:
    """One prompt's line; `style` is the number of its colour and marker."""

    name: str
    style: int
    points: tuple[Point, ...]

    @property
    def line(self) -> str:
        return " ".join(f"{p.x},{p.y}" for p in self.points)


@dataclass(frozen=True, slots=True)
class Panel:
    """Score against shots, of one task under one model."""

    task: str
    data: str
    metric: str
    subtitle: str
    axis: Axis
    shots: tuple[tuple[float, int], ...]
    """(place, number) of each tick."""
    series: tuple[Series, ...]
    trivial: tuple[float, str] | None
    """(place, name and figure) of what could be had without looking."""


WIDTH, HEIGHT = 320, 210
LEFT, RIGHT, TOP, BOTTOM = 40, 312, 10, 178
_APART = 7
"""Between the marks of two prompts at one number of shots, so that their intervals do not cover each other."""


def panel(
    task: str,
    data: str,
    metric: str,
    subtitle: str,
    lines: Sequence[tuple[str, int, dict[int, Estimate]]],
    trivial: tuple[float, str] | None = None,
) -> Panel:
    """A panel of (prompt, style, estimates by shots), at least one; `trivial` is a score to be better than."""
    values = [v for _, _, found in lines for e in found.values() for v in e.extent]
    scale = axis([*values, *(trivial or ())[:1]], BOTTOM, TOP)
    numbers = sorted({shots for _, _, found in lines for shots in found})
    step = (RIGHT - LEFT) / len(numbers)
    places = {shots: round(LEFT + step * (k + 0.5), 2) for k, shots in enumerate(numbers)}
    series = []
    for k, (name, style, found) in enumerate(lines):
        shift = (k - (len(lines) - 1) / 2) * _APART
        points = tuple(_point(places[shots] + shift, scale, shots, found[shots]) for shots in sorted(found))
        series.append(Series(name, style, points))
    level = None if trivial is None else (scale.at(trivial[0]), f"{trivial[1]} {trivial[0]:.1f}")
    return Panel(task, data, metric, subtitle, scale, tuple((x, s) for s, x in places.items()), tuple(series), level)


def _point(x: float, scale: Axis, shots: int, e: Estimate) -> Point:
    top = None if e.high is None else scale.at(e.high)
    bottom = None if e.low is None else scale.at(e.low)
    return Point(round(x, 2), scale.at(e.value), top, bottom, shots, e)
