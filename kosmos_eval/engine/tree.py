"""The prefix tree of a window: what its sequences have in common, found once and computed once.

Sequences are sorted by their keys, so those that share a prefix are neighbours, and the tree is read off the common
prefixes of neighbours. Every sequence keeps its last position for itself: that is where its answer begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from kosmos_eval.engine.keys import Keys, common

SHARE = 16
"""Fewer common positions than this are not worth a pass of their own."""


@dataclass(slots=True, eq=False)
class Node:
    """Positions [start, end) that all sequences below share. `keys` reach from 0 to `end`."""

    keys: Keys
    start: int
    parent: Node | None = None
    leaves: list[int] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)

    @property
    def end(self) -> int:
        return len(self.keys)

    def path(self) -> list[Node]:
        """The nodes from the root to this one."""
        above = self.parent.path() if self.parent else []
        return [*above, self]

    def walk(self) -> Iterator[tuple[int, Node]]:
        """Every sequence with the node it hangs on, depth first."""
        for leaf in self.leaves:
            yield leaf, self
        for child in self.children:
            yield from child.walk()


def build(sequences: Sequence[Keys]) -> Node:
    """The tree of sequences; leaves are their places in the list."""
    order = sorted(range(len(sequences)), key=lambda i: (sequences[i].tolist(), i))
    shared = [_shared(sequences[a], sequences[b]) for a, b in pairwise(order)]
    # A sequence of one position still keeps it: the root may be empty.
    end = min(shared) if shared else len(sequences[order[0]]) - 1
    root = Node(sequences[order[0]][:end], 0)
    _grow(root, order, shared, sequences)
    return root


def _shared(a: Keys, b: Keys) -> int:
    return min(common(a, b), len(a) - 1, len(b) - 1)


def _grow(node: Node, order: list[int], shared: list[int], sequences: Sequence[Keys]) -> None:
    """Hangs sequences on a node: runs that share enough beyond it get a child of their own."""
    start = 0
    for i in range(len(order)):
        if i < len(shared) and shared[i] >= node.end + SHARE:
            continue
        run, inside = order[start : i + 1], shared[start:i]
        start = i + 1
        if len(run) == 1:
            node.leaves.append(run[0])
            continue
        child = Node(sequences[run[0]][: min(inside)], node.end, node)
        node.children.append(child)
        _grow(child, run, inside, sequences)


def meeting(a: Node, b: Node) -> Node:
    """The lowest node above both."""
    return [x for x, y in zip(a.path(), b.path(), strict=False) if x is y][-1]
