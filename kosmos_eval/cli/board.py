"""`kosmos-eval leaderboard`, and how a table looks on a terminal."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kosmos_eval.cli.common import console, fail, printable, reporting

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType
    from rich.table import Table

UNDEFINED = "–"


@reporting
def leaderboard(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out of one or more runs.")],
    csv: Annotated[Path | None, typer.Option(help="Writes the whole table to this file.")] = None,
    groups: Annotated[bool, typer.Option(help="Also prints metrics by group, such as VQA's answer types.")] = False,
) -> None:
    """Prints the scores of the runs below a folder, prompts side by side, and writes all of them as CSV.

    Example: kosmos-eval leaderboard results/demo --csv results/demo/leaderboard.csv
    """
    from kosmos_eval.tables import leaderboard as table_of
    from kosmos_eval.tables import write_csv

    frame = table_of(folder)
    if csv is not None:
        write_csv(frame, csv)
    screen = console()
    for part in render(frame, groups):
        screen.print(part)
    if unfinished := frame.attrs.get("unfinished"):
        fail(f"{unfinished} runs are not finished and not shown; the same `run` command completes them", "note")


def render(frame: pd.DataFrame, groups: bool = False) -> Iterator[RenderableType]:
    """Per kind of data, which are never ranked together: the primary metrics, then the others; then what is missing."""
    from rich.text import Text

    shown = frame if groups else frame[~frame["metric"].str.contains("/")]
    for data, part in shown.groupby("data", sort=False):
        for primary, title in ((True, "primary metrics"), (False, "other metrics")):
            rows = part[part["primary"] == primary]
            if len(rows):
                yield _table(rows, f"data: {data}, {title}")
    undefined = shown[shown["score"].isna()].drop_duplicates(["task", "metric", "reason"])
    for row in undefined.to_dict("records"):
        yield Text(printable(f"{UNDEFINED} {row['task']} {row['metric']}: {row['reason']}"), "dim")


def _table(rows: pd.DataFrame, title: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    # Without vertical lines seven columns fit 80 characters.
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=Text(printable(title)), title_justify="left")
    constant = [c for c in ("model", "demos", "seed") if rows[c].nunique() == 1]
    varying = [c for c in ("model", "demos", "seed") if c not in constant]
    splits = rows.groupby("task", sort=False)["split"].unique()
    if any(len(found) > 1 for found in splits):
        varying.insert(0, "split")
    common = [f"{c} {rows[c].iloc[0]}" for c in constant]
    common += [f"{task} on {found[0]}" for task, found in splits.items() if "split" not in varying]
    if common:
        table.caption = Text(printable(", ".join(common)))
        table.caption_justify = "left"
    for column in ("task", "metric"):
        table.add_column(column, overflow="fold", min_width=max(len(v) for v in [column, *rows[column]]))
    for column in (*varying, "shots"):
        table.add_column(column, overflow="fold", justify="right" if column in ("seed", "shots") else "left")
    prompts = list(dict.fromkeys(rows["prompt"]))
    for prompt in prompts:
        table.add_column(Text(printable(prompt)), justify="right", min_width=9)
    table.add_column("n", justify="right")
    task = None
    for _, group in rows.groupby(["task", "split", "metric", "model", "demos", "seed", "shots"], sort=False):
        first = group.iloc[0]
        if task not in (None, first["task"]):
            table.add_section()
        task = first["task"]
        by_prompt = {row["prompt"]: row for row in group.to_dict("records")}
        cells = [str(first[c]) for c in ("task", "metric", *varying, "shots")]
        cells += [_cell(by_prompt.get(prompt)) for prompt in prompts]
        table.add_row(*(Text(printable(cell)) for cell in [*cells, _extent(group)]))
    return table


def _cell(row: dict[Hashable, Any] | None) -> str:
    """A score with its standard error; the reason of an undefined one stands below the tables."""
    if row is None:
        return ""
    if row["score"] != row["score"]:
        return "does not fit" if str(row["reason"]).startswith("does not fit") else UNDEFINED
    if row["metric"].endswith("_p"):
        return f"{row['score']:.2g}"
    error = row["stderr"]
    return f"{row['score']:.1f}" + (f" ±{error:.1f}" if error == error else "")


def _extent(group: pd.DataFrame) -> str:
    """The number of samples; of several prompts' where they differ."""
    pairs = zip(group["n"], group["failed"], strict=True)
    return " / ".join(dict.fromkeys(f"{n} ({failed} failed)" if failed else str(n) for n, failed in pairs))
