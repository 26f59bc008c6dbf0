"""Comparisons as they are read: a table a task with the baseline on top, then the flips."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any

from kosmos_eval.comparison.table import FLIPS
from kosmos_eval.tables.parts import Part, number, present, probability, span, varying

if TYPE_CHECKING:
    import pandas as pd

_DIMENSIONS = ("model", "prompt", "shots", "demos", "seed")


def comparison_parts(frame: pd.DataFrame) -> Iterator[Part]:
    """What a comparison says, task by task; never two kinds of data in one table."""
    for (task, split, data, metric), rows in frame.groupby(["task", "split", "data", "metric"], sort=False):
        yield _differences(rows, f"{task!s}, {metric!s} on {split!s}, data: {data!s}")
    for data, rows in frame.groupby("data", sort=False):
        right = rows[rows["both_right"].notna()]
        if len(right):
            yield _flips(right, f"right answers, data: {data!s}", FLIPS[:4])
        graded = rows[rows["both_right"].isna() & rows["equal"].notna()]
        if len(graded):
            yield _flips(graded, f"graded answers, data: {data!s}", FLIPS[4:])


def _differences(rows: pd.DataFrame, title: str) -> Part:
    by = str(rows["by"].iloc[0])
    shown, same = varying(rows, [c for c in _DIMENSIONS if c != by])
    counted = "n" if rows["n"].nunique() > 1 else None
    columns = (*shown, by, "score", "difference [95 %]", "p", "Holm", *filter(None, [counted]), "n for 80 %")
    lines: list[tuple[str, ...]] = []
    block = None
    for row in rows.to_dict("records"):
        others = tuple(str(row[c]) for c in shown)
        if block != (others, row["run_baseline"]):
            lines.append(
                (*others, row["baseline"], number(row["score_baseline"]), *[""] * (len(columns) - len(others) - 2))
            )
        block = others, row["run_baseline"]
        lines.append((*others, row["variant"], *_figures(row), *([str(row["n"])] if counted else []), _needed(row)))
    tests = " and ".join(dict.fromkeys(rows["test"]))
    notes = [
        ", ".join([*same, *([] if counted else [f"n {rows['n'].iloc[0]}"])]),
        f"difference to {by} {rows['baseline'].iloc[0]}, paired bootstrap interval; p: {tests}",
    ]
    if rows["excluded"].sum():
        notes.append(f"{rows['excluded'].sum()} samples are left out: not answered by both")
    return Part(title, columns, tuple(lines), tuple(notes))


def _figures(row: dict[Hashable, Any]) -> tuple[str, ...]:
    difference = f"{number(row['difference'], sign=True)} {span(row['low'], row['high'], sign=True)}".rstrip()
    return number(row["score_variant"]), difference, probability(row["p"]), probability(row["p_holm"])


def _needed(row: dict[Hashable, Any]) -> str:
    return f"{row['n_for_80_power']:,}" if present(row["n_for_80_power"]) else ""


def _flips(rows: pd.DataFrame, title: str, kinds: tuple[str, ...]) -> Part:
    by = str(rows["by"].iloc[0])
    shown, _ = varying(rows, [c for c in _DIMENSIONS if c != by])
    base = rows["baseline"].iloc[0]
    columns = ("task", *shown, by, *(_told(kind, base) for kind in kinds))
    lines = [
        (str(row["task"]), *(str(row[c]) for c in shown), str(row["variant"]), *(str(row[kind]) for kind in kinds))
        for row in rows.to_dict("records")
    ]
    return Part(title, columns, tuple(lines), (f"the baseline is {by} {base}",))


def _told(kind: str, base: str) -> str:
    """A column's name for readers."""
    return {"only_baseline": f"only {base}", "only_variant": "only this"}.get(kind, kind.replace("_", " "))
