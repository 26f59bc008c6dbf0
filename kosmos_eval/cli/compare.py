"""`kosmos-eval compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval.cli.common import fail, reporting
from kosmos_eval.cli.tables import Csv, Json, Latex, Markdown, show, write


@reporting
def compare(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out of two or more runs.")],
    by: Annotated[str, typer.Option(help="What the runs differ in: prompt, shots, model or seed.")],
    baseline: Annotated[
        str | None, typer.Option(help="What to compare with: standard, the fewest shots, the first model or seed.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="By this metric instead of each task's primary one.")] = None,
    per_seed: Annotated[bool, typer.Option("--per-seed", help="Seeds apart, instead of pooled by sample.")] = False,
    csv: Csv = None,
    markdown: Markdown = None,
    latex: Latex = None,
    json: Json = None,
) -> None:
    """Compares runs that differ in one thing only, sample by sample: difference, interval, p, flips.

    Example: kosmos-eval compare results --by prompt --baseline standard --csv compare.csv
    """
    from kosmos_eval.comparison import compare as table_of
    from kosmos_eval.comparison.parts import comparison_parts

    frame = table_of(folder, by, baseline, metric, per_seed)
    parts = list(comparison_parts(frame))
    write(frame, parts, csv, markdown, latex, json)
    show(parts)
    for run in frame.attrs["unpaired"]:
        fail(f"{run['run']}: {run['reason']}", "not compared")
    if unfinished := frame.attrs["unfinished"]:
        fail(f"{unfinished} runs are not finished and not compared; the same `run` command completes them", "note")
    if frame.empty:
        fail("no two runs differ in that alone")
        raise typer.Exit(1)
