"""Which rows write together.

At a step every row attends to the path that all share, in one product, and to what is its own, padded to the longest.
So rows that share a long path should not write with others that do not share it: each would carry a copy. Nor should
many short rows write with a few long ones. But each batch more reads the network's weights once more at every step:
rows part only where that is the smaller evil.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Protocol, TypeVar

from kosmos_eval.engine.rows import Row
from kosmos_eval.engine.tree import Node, build, meeting


def shared_node(rows: list[Row]) -> Node:
    """The node that all rows lie below: they come depth first, so it is where the first and the last meet."""
    first, last = rows[0].node, rows[-1].node
    assert first is not None
    assert last is not None
    return meeting(first, last)


class Acting(Protocol):
    """What writes with so many beams, or scores: then they are 0."""

    @property
    def beams(self) -> int: ...


R = TypeVar("R", bound=Acting)


def by_beams(rows: Sequence[R]) -> list[list[R]]:
    """Rows that may be worked on together, in their order: those that write with equally many beams.

    Those that score go with the first kind: they share paths with it.
    """
    first = min((row.beams for row in rows if row.beams), default=0)
    kinds = sorted({row.beams or first for row in rows})
    return [[row for row in rows if (row.beams or first) == beams] for beams in kinds]


def depth_first(rows: list[Row]) -> list[Row]:
    """Hangs rows on the tree of what they share. On each node those that score come before those that write."""
    order: list[Row] = []
    walk = build([row.sequence.keys[: row.trunk] for row in rows]).walk()
    for node, leaves in groupby(walk, key=lambda found: found[1]):
        here = [rows[leaf] for leaf, _ in leaves]
        for row in here:
            row.node, row.cached = node, node.end
        order += sorted(here, key=lambda row: bool(row.beams))
    return order


def groups(rows: list[Row], weights: int) -> list[list[Row]]:
    """Rows, depth first, in groups that are best worked on together, each depth first.

    `weights`: so many positions have keys and values of the size of all weights. Rows that score go with the writing
    row that comes next, whose path theirs leads to; without any that write, all are one group.
    """
    writing = [row for row in rows if row.beams]
    if not writing:
        return [rows]
    apart = _apart(writing, weights)
    place = {id(row): number for number, group in enumerate(apart) for row in group}
    found: list[list[Row]] = [[] for _ in apart]
    waiting: list[Row] = []
    for row in rows:
        waiting.append(row)
        if row.beams:
            found[place[id(row)]] += waiting
            waiting = []
    found[place[id(writing[-1])]] += waiting
    return found


def _apart(rows: list[Row], weights: int) -> list[list[Row]]:
    """Takes out every branch that shares a path worth more than the weights; what is left is cut by length."""
    rest, found = _taken_out(rows, shared_node(rows).end, weights)
    return [*_by_length(rest, weights), *found]


def _taken_out(rows: list[Row], end: int, weights: int) -> tuple[list[Row], list[list[Row]]]:
    """What is left of rows that share no more than `end` positions, and the groups taken out."""
    rest: list[Row] = []
    found: list[list[Row]] = []
    for run in _branches(rows):
        copies = len(run) - 1  # the path is read once, instead of with every row
        if copies * (shared_node(run).end - end) > weights:
            found += _apart(run, weights)
        elif copies:
            left, taken = _taken_out(run, end, weights)
            rest, found = rest + left, found + taken
        else:
            rest += run
    return rest, found


def _branches(rows: list[Row]) -> Iterator[list[Row]]:
    """Rows by the branch they lie on behind the node that all share; a row that hangs on that node is one by itself."""
    depth = len(shared_node(rows).path())

    def branch(row: Row) -> int:
        assert row.node is not None
        path = row.node.path()
        return id(path[depth]) if len(path) > depth else id(row)

    for _, run in groupby(rows, key=branch):
        yield list(run)


def _by_length(rows: list[Row], weights: int) -> list[list[Row]]:
    """Cuts off the short rows where padding them to the longest would cost more than the weights."""
    if not rows:
        return []
    lengths = sorted(row.trunk for row in rows)
    longest = lengths[-1]
    saved, cut = max((number * (longest - length), length) for number, length in enumerate(lengths, start=1))
    if saved <= weights:
        return [rows]
    short = [row for row in rows if row.trunk <= cut]
    return [*_by_length(short, weights), *_by_length([row for row in rows if row.trunk > cut], weights)]
