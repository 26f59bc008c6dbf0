"""Which rows write together: those that share a long path apart from others, and nobody alone without need."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos_eval.engine.batching import depth_first, groups, shared_node
from kosmos_eval.engine.choices import ChoiceTree
from kosmos_eval.engine.keys import Sequence
from kosmos_eval.engine.rows import Row
from kosmos_eval.request import Choice, Generate, Request, Score, Stage

WEIGHTS = 1000


def row(index: int, keys: list[int], *, writes: bool = True) -> Row:
    act = Generate(8) if writes else Score((Choice("yes", " yes"),))
    made = Row(index, Request(str(index), (), (Stage("answer", (), act),)))
    made.sequence = Sequence(np.array(keys, dtype=np.int64), tuple(keys))
    made.choices = None if writes else ChoiceTree(len(keys))
    return made


def split(rows: list[Row], weights: int = WEIGHTS) -> list[set[int]]:
    return [{r.index for r in group} for group in groups(depth_first(rows), weights)]


@st.composite
def windows(draw: st.DrawFn) -> list[Row]:
    """Rows behind one of a few long beginnings, with private or shared middles and their own ends."""
    rows = []
    for index in range(draw(st.integers(1, 14))):
        opening = draw(st.sampled_from([0, 20, 300, 301]))
        shared = [1, *[2 + opening] * opening]
        middle = [50 + draw(st.integers(0, 3))] * draw(st.sampled_from([0, 30, 200]))
        rows.append(row(index, [*shared, *middle, 100 + index, 7], writes=draw(st.booleans())))
    return rows


@settings(deadline=None)
@given(rows=windows(), weights=st.sampled_from([1, 200, 10**6]))
def test_every_row_is_worked_on_once_and_depth_first(rows: list[Row], weights: int) -> None:
    order = depth_first(rows)
    found = groups(order, weights)
    assert sorted(r.index for group in found for r in group) == list(range(len(rows)))
    place = {r.index: n for n, r in enumerate(order)}
    for group in found:
        assert [place[r.index] for r in group] == sorted(place[r.index] for r in group)
        assert any(r.beams for r in group) or len(found) == 1
        node = shared_node(group)
        assert all(np.array_equal(r.sequence.keys[: node.end], node.keys) for r in group)
        assert all(r.cached == r.node.end < r.trunk for r in group if r.node)
    if weights == 10**6:
        assert len(found) == 1


def test_rows_behind_the_same_demonstrations_write_apart_from_others() -> None:
    four, eight = list(range(100, 400)), list(range(100, 900))
    rows = [row(n, [1, *[20 + n] * 60]) for n in range(10)]
    rows += [row(10 + n, [1, *four, *[20 + n] * 60]) for n in range(10)]
    rows += [row(20 + n, [1, *eight, *[20 + n] * 60]) for n in range(10)]
    assert sorted(map(sorted, split(rows))) == [list(range(start, start + 10)) for start in (0, 10, 20)]


def test_a_path_of_ones_own_is_no_reason_to_write_alone() -> None:
    rows = []
    for n in range(12):  # each picture is shared only by the two that are asked about it
        picture = [20 + n] * 900
        rows += [row(2 * n, [1, *picture, 5, 9], writes=False), row(2 * n + 1, [1, *picture, 6, 9])]
    (group,) = groups(depth_first(rows), WEIGHTS)
    assert len(group) == 24
    # What scores stands right before what writes, on the same node: its path is computed once.
    assert all(a.node is b.node and not a.beams and b.beams for a, b in zip(group[::2], group[1::2], strict=True))


def test_short_rows_are_not_padded_to_a_few_long_ones() -> None:
    rows = [row(n, [1, *[20 + n] * 30]) for n in range(10)] + [row(10 + n, [1, *[40 + n] * 900]) for n in range(3)]
    assert sorted(map(sorted, split(rows))) == [list(range(10)), [10, 11, 12]]
    assert len(split(rows, weights=10_000)) == 1
