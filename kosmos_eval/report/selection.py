"""Which samples a report holds: a stated, deterministic choice, the same for the same runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kosmos_eval.demos import rank
from kosmos_eval.report.runs import Kind, Mark, Setting, flips


class Row(NamedTuple):
    """One sample in one setting."""

    setting: int
    place: int
    """Its place in the setting's data."""
    sample_id: str
    marks: tuple[Mark, ...]
    """In the order of the setting's prompts."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that a report shows."""

    rows: list[Row]
    """The most telling first: whoever has a budget spends it in this order."""
    kinds: list[Kind]
    """By setting."""
    total: int
    flips: int
    """How many of all rows are flips."""
    flips_shown: int

    @property
    def left_out(self) -> int:
        return self.total - len(self.rows)


def select(settings: Sequence[Setting], most: int) -> Selection:
    """At most so many rows: flips first, then failures, then the rest, each drawn by the hash of the sample's id.

    Settings take turns, so that a large task does not crowd out a small one; a sample that is drawn for one setting
    tends to be drawn for the others.
    """
    ranked: list[tuple[int, int, Row]] = []
    kinds: list[Kind] = []
    total = flipped = 0
    for number, setting in enumerate(settings):
        marks = setting.marks()
        kinds.append(marks.kind)
        rows = [Row(number, place, i, own) for place, (i, own) in enumerate(marks.by_sample.items())]
        total += len(rows)
        flipped += sum(flips(row.marks) for row in rows)
        rows.sort(key=lambda row: (_class(row.marks), rank(0, "report", row.sample_id), row.place))
        ranked += [(_class(row.marks), turn, row) for turn, row in enumerate(rows[:most])]
    ranked.sort(key=lambda r: (r[0], r[1], r[2].setting))
    chosen = ranked[:most]
    return Selection([row for *_, row in chosen], kinds, total, flipped, sum(order == 0 for order, *_ in chosen))


def _class(marks: tuple[Mark, ...]) -> int:
    if flips(marks):
        return 0
    return 1 if any(mark.verdict == "failed" for mark in marks) else 2
