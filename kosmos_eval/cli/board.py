"""`kosmos-eval leaderboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval.cli.common import fail, reporting
from kosmos_eval.cli.tables import Csv, Json, Latex, Markdown, show, write


@reporting
def leaderboard(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out of one or more runs.")],
    csv: Csv = None,
    markdown: Markdown = None,
    latex: Latex = None,
    json: Json = None,
    per_seed: Annotated[bool, typer.Option("--per-seed", help="A row a seed, instead of their mean.")] = False,
    with_published: Annotated[
        bool, typer.Option("--with-published", help="Shows the papers' figures beside, and why some do not compare.")
    ] = False,
    groups: Annotated[bool, typer.Option(help="Also prints metrics by group, such as VQA's answer types.")] = False,
) -> None:
    """Prints the scores of the runs below a folder with their evidence, and writes all of it as CSV.

    Example: kosmos-eval leaderboard results/demo --csv results/demo/leaderboard.csv
    """
    from kosmos_eval.tables import leaderboard as table_of
    from kosmos_eval.tables.board_parts import board_parts

    frame = table_of(folder, per_seed, with_published)
    parts = list(board_parts(frame, groups))
    write(frame, parts, csv, markdown, latex, json)
    show(parts)
    if unfinished := frame.attrs.get("unfinished"):
        fail(f"{unfinished} runs are not finished and not shown; the same `run` command completes them", "note")
