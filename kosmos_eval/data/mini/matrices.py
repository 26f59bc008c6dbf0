"""Progressive matrices: panels of equal shapes whose attributes follow rules along the rows.

The candidates give nothing away. A matrix is made backwards: the missing panel's attributes are drawn uniformly, then
rules that lead to it. Two attributes are then varied, one with two values and one with three, drawn uniformly, without
regard to the right ones: a full 2x3 grid, where each candidate has as many likenesses as any other. Given the six, each
is right with probability 1/6 exactly, so nothing can be learned from them alone (the bisection idea of I-RAVEN).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

SHAPES = ("triangle", "square", "pentagon", "hexagon", "circle")
SIZES = ("tiny", "small", "large", "huge")
COLOURS = ("white", "light gray", "gray", "dark gray", "black")
COUNTS = ("one", "two", "three", "four")
ATTRIBUTES: dict[str, tuple[str, ...]] = {"shape": SHAPES, "size": SIZES, "colour": COLOURS, "count": COUNTS}
CONSTANT, PROGRESSION, DISTRIBUTE = "constant", "progression", "distribute-three"

Panel = tuple[int, int, int, int]
"""The place of a panel's shape, size, colour and count in their lists."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The panels in reading order without the missing one, six candidates, and which of them is missing."""

    side: int
    rules: tuple[str, ...]
    panels: tuple[Panel, ...]
    candidates: tuple[Panel, ...]
    target: int

    @property
    def answer(self) -> Panel:
        return self.candidates[self.target]

    @property
    def content(self) -> str:
        """What the train/eval wall looks at: the whole matrix, whatever its candidates."""
        return ";".join("".join(map(str, panel)) for panel in (*self.panels, self.answer))


def random_matrix(rng: random.Random, side: int) -> Matrix:
    """A matrix of 2x2 or 3x3 with one to three attributes that change along the rows."""
    rules = _random_rules(rng, side)
    grids = [
        _grid(rng, side, rule, len(values), rng.randrange(len(values)))
        for rule, values in zip(rules, ATTRIBUTES.values(), strict=True)
    ]
    panels = [(grids[0][i], grids[1][i], grids[2][i], grids[3][i]) for i in range(side * side)]
    candidates = _candidates(rng, panels[-1], rules)
    return Matrix(side, rules, tuple(panels[:-1]), candidates, candidates.index(panels[-1]))


def _random_rules(rng: random.Random, side: int) -> tuple[str, ...]:
    """A rule for each attribute, the constant one for at least one of them.

    Distribute-three needs three columns; two rows of two cannot tell it from a progression.
    """
    moving = rng.sample(range(len(ATTRIBUTES)), rng.randint(1, side))
    choices = (PROGRESSION,) if side == 2 else (PROGRESSION, DISTRIBUTE)
    return tuple(rng.choice(choices) if a in moving else CONSTANT for a in range(len(ATTRIBUTES)))


def _grid(rng: random.Random, side: int, rule: str, size: int, last: int) -> list[int]:
    """One attribute's values in reading order, ending in `last`."""
    if rule == CONSTANT:
        return _constant_rows(rng, side, size, last)
    return _progression_rows(rng, side, size, last) if rule == PROGRESSION else _distributed_rows(rng, size, last)


def _constant_rows(rng: random.Random, side: int, size: int, last: int) -> list[int]:
    """The same along a row; often the same in all rows."""
    if rng.random() < 0.5:
        return [last] * (side * side)
    rows = [rng.randrange(size) for _ in range(side - 1)] + [last]
    return [value for value in rows for _ in range(side)]


def _progression_rows(rng: random.Random, side: int, size: int, last: int) -> list[int]:
    """A step up or down along each row, the same step in all of them."""
    reach = side - 1
    steps = [d for d in (-2, -1, 1, 2) if 0 <= last - d * reach < size]
    step = rng.choice(steps)
    low, high = max(0, step * reach), min(size, size + step * reach)
    ends = [rng.randrange(low, high) for _ in range(side - 1)] + [last]
    return [end - step * (reach - column) for end in ends for column in range(side)]


def _distributed_rows(rng: random.Random, size: int, last: int) -> list[int]:
    """The same three values in each row, each row turned by one."""
    others = rng.sample([v for v in range(size) if v != last], 2)
    row = [*others, last]
    turn = rng.choice((1, 2))
    rows = [[row[(column + turn * shift) % 3] for column in range(3)] for shift in (2, 1, 0)]
    return [value for values in rows for value in values]


def _candidates(rng: random.Random, answer: Panel, rules: Sequence[str]) -> tuple[Panel, ...]:
    """A shuffled 2x3 grid around the answer, over the attributes that change if there are two, else others too."""
    order = list(range(len(ATTRIBUTES)))
    rng.shuffle(order)
    order.sort(key=lambda attribute: rules[attribute] == CONSTANT)
    varied = order[:2]
    rng.shuffle(varied)
    values = {a: _values_around(rng, a, answer[a], n) for a, n in zip(varied, (2, 3), strict=True)}
    candidates: list[Panel] = []
    for first in values[varied[0]]:
        for second in values[varied[1]]:
            panel = list(answer)
            panel[varied[0]], panel[varied[1]] = first, second
            candidates.append((panel[0], panel[1], panel[2], panel[3]))
    rng.shuffle(candidates)
    return tuple(candidates)


def _values_around(rng: random.Random, attribute: int, right: int, count: int) -> list[int]:
    """The right value and others, uniform over all sets that hold it."""
    size = len(list(ATTRIBUTES.values())[attribute])
    return [right, *rng.sample([v for v in range(size) if v != right], count - 1)]


def name_panel(panel: Panel) -> str:
    """`two small black circles`."""
    shape, size, colour, count = panel
    return f"{COUNTS[count]} {SIZES[size]} {COLOURS[colour]} {SHAPES[shape]}{'s' if count else ''}"
