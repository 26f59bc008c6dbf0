"""The report's tables and charts: the leaderboard and the comparison of prompts, as the template shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kosmos_eval.report.charts import Axis, Estimate, Panel, axis, panel

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
_SAME_SPLIT = " (same split)"


@dataclass(frozen=True, slots=True)
class Cell:
    """One score of a table, or why there is none."""

    estimate: Estimate | None
    reason: str = ""
    failed: int = 0


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One line of the leaderboard: a task and a metric under one setting, prompts side by side."""

    task: str
    metric: str
    where: tuple[str, ...]
    """The values of the columns that vary: split, model, demos, seed."""
    shots: int
    cells: tuple[Cell | None, ...]
    n: str
    trivial: tuple[float, str] | None
    """The best score that could be had without looking, and how."""
    opens: bool
    """Whether it is the first of its task and metric."""


@dataclass(frozen=True, slots=True)
class Board:
    """The leaderboard of one kind of data: kinds are never ranked together."""

    data: str
    primary: bool
    varying: tuple[str, ...]
    constant: str
    """What all rows share, in words."""
    prompts: tuple[str, ...]
    rows: tuple[BoardRow, ...]


def boards(frame: pd.DataFrame, prompts: Sequence[str]) -> Iterator[Board]:
    """Per kind of data, the headline metrics, then the others."""
    for data, part in frame.groupby("data", sort=False):
        for primary in (True, False):
            rows: list[Row] = [
                {str(k): v for k, v in r.items()} for r in part[part["primary"] == primary].to_dict("records")
            ]
            if rows:
                shown = [p for p in prompts if any(r["prompt"] == p for r in rows)]
                yield _board(str(data), primary, rows, shown)


def _board(data: str, primary: bool, rows: Sequence[Row], prompts: Sequence[str]) -> Board:
    columns = ("model", "demos", "seed")
    varying = tuple(c for c in columns if len({r[c] for r in rows}) > 1)
    constant = [f"{c} {rows[0][c]}" for c in columns if c not in varying]
    splits = {r["task"]: {s["split"] for s in rows if s["task"] == r["task"]} for r in rows}
    if any(len(found) > 1 for found in splits.values()):
        varying = ("split", *varying)
    else:
        constant += [f"{task} on {next(iter(found))}" for task, found in splits.items()]
    lines: dict[tuple[Any, ...], dict[str, Row]] = {}
    for r in rows:
        key = (r["task"], r["metric"], tuple(str(r[c]) for c in varying), r["shots"])
        lines.setdefault(key, {})[r["prompt"]] = r
    found: list[BoardRow] = []
    for (task, metric, where, shots), by_prompt in lines.items():
        cells = tuple(_cell(by_prompt.get(p)) for p in prompts)
        opens = not found or (found[-1].task, found[-1].metric) != (task, metric)
        own = list(by_prompt.values())
        found.append(BoardRow(task, metric, where, shots, cells, _extent(own), _trivial(own), opens))
    return Board(data, primary, varying, ", ".join(constant), tuple(prompts), tuple(found))


def _cell(row: Row | None) -> Cell | None:
    if row is None:
        return None
    return Cell(_estimate(row), str(row["reason"] or ""), int(row["failed"]))


def _estimate(row: Row) -> Estimate | None:
    if row["score"] != row["score"]:
        return None
    return Estimate(row["score"], _known(row["low"]), _known(row["high"]), int(row["n"]))


def _known(value: float | None) -> float | None:
    """The value, or None for the NaN that stands for none in a table."""
    return None if value is None or value != value else float(value)


def _trivial(rows: Iterable[Row]) -> tuple[float, str] | None:
    """The best of chance and a constant answer."""
    there = [(value, name) for r in rows for name in ("chance", "constant") if (value := _known(r[name])) is not None]
    return max(there, key=lambda found: (found[0], found[1] == "chance"), default=None)


def _extent(rows: Iterable[Row]) -> str:
    """The number of samples; of several prompts' where they differ."""
    return " / ".join(dict.fromkeys(f"{r['n']}" for r in rows))


def panels(frame: pd.DataFrame, prompts: Sequence[str]) -> list[Panel]:
    """Score against shots: one panel per data, task, split, model, sampler and seeds, over its headline metric."""
    rows = frame[frame["primary"] & frame["score"].notna()]
    rows = rows.assign(demos=rows["demos"].str.removesuffix(_SAME_SPLIT))
    several = [c for c in ("model", "demos", "seed") if rows[c].nunique() > 1]
    groups: dict[tuple[str, ...], list[Row]] = {}
    for r in rows.to_dict("records"):
        key = tuple(str(r[c]) for c in ("data", "task", "split", "metric", "model", "demos", "seed"))
        groups.setdefault(key, []).append({str(k): v for k, v in r.items()})
    return [_panel(own, prompts, several) for own in groups.values()]


def _panel(rows: Sequence[Row], prompts: Sequence[str], several: Sequence[str]) -> Panel:
    first = rows[0]
    lines = []
    for prompt in prompts:
        estimates = {int(r["shots"]): e for r in rows if r["prompt"] == prompt and (e := _estimate(r)) is not None}
        if estimates:
            lines.append((prompt, prompts.index(prompt), estimates))
    n = sorted({e.n for _, _, line in lines for e in line.values()})
    notes = [first["split"], f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"]
    notes += [f"{c} {first[c]}" for c in several]
    return panel(first["task"], first["data"], first["metric"], " · ".join(notes), lines, _trivial(rows))


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One paired difference, prompt minus baseline, in points of the metric."""

    task: str
    metric: str
    where: tuple[str, ...]
    shots: int
    n: int
    scores: tuple[float, float]
    difference: Estimate
    p: float
    """Adjusted by Holm over all differences on this kind of data."""
    test: str
    moved: tuple[int, int] | None
    """Samples that came out better, and worse; None where the metric has no value per sample."""
    opens: bool


@dataclass(frozen=True, slots=True)
class Forest:
    """The differences of one prompt to the baseline, on one kind of data, over one axis in per cent of its width."""

    data: str
    prompt: str
    style: int
    varying: tuple[str, ...]
    axis: Axis
    rows: tuple[ForestRow, ...]


def forests(comparison: pd.DataFrame, prompts: Sequence[str]) -> list[Forest]:
    """The comparison by prompt, one forest per kind of data and prompt."""
    varying = tuple(c for c in ("model", "demos", "seed", "split") if _varies(comparison, c))
    groups: dict[tuple[str, str], list[ForestRow]] = {}
    for r in comparison.to_dict("records"):
        rows = groups.setdefault((r["data"], r["variant"]), [])
        difference = Estimate(r["difference"], _known(r["low"]), _known(r["high"]), r["n"])
        known = not any(r[c] is None or r[c] != r[c] for c in ("better", "worse"))
        rows.append(
            ForestRow(
                r["task"], r["metric"], tuple(str(r[c]) for c in varying), r["shots"], r["n"],
                (r["score_baseline"], r["score_variant"]), difference, r["p_holm"], r["test"],
                (int(r["better"]), int(r["worse"])) if known else None,
                not rows or (rows[-1].task, rows[-1].metric) != (r["task"], r["metric"]),
            )
        )  # fmt: skip
    found = []
    for (data, prompt), rows in groups.items():
        values = [0.0, *(v for row in rows for v in row.difference.extent)]
        name = prompt.partition("@")[0]
        style = prompts.index(prompt if prompt in prompts else name) if {prompt, name} & set(prompts) else 1
        found.append(Forest(data, prompt, style, varying, axis(values, 2, 98, most_ticks=7), tuple(rows)))
    return found


def _varies(frame: pd.DataFrame, column: str) -> bool:
    """Whether the column tells rows apart: splits differ between tasks without saying anything."""
    if column == "split":
        return bool((frame.groupby("task")["split"].nunique() > 1).any())
    return bool(frame[column].nunique() > 1)
