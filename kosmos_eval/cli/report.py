"""`kosmos-eval report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval.cli.common import TasksDir, fail, printable, reporting


@reporting
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out of one or more runs.")],
    out: Annotated[Path | None, typer.Option(help="The file to write; DIR/report.html by default.")] = None,
    max_samples: Annotated[
        int, typer.Option(help="At most so many samples to look at: flips first, then the rest by hash.")
    ] = 20_000,
    data: Annotated[
        Path | None, typer.Option(help="Where the official files are now, if not where the runs read them.")
    ] = None,
    tasks_dir: TasksDir = None,
) -> None:
    """Writes one HTML file with tables, charts, and every sample with its pictures, prompt and answers.

    Example: kosmos-eval report results/demo --out report.html
    """
    from kosmos_eval.report import write_report

    made = write_report(folder, out, max_samples=max_samples, data=data, tasks_dir=tasks_dir)
    for note in made.notes:
        fail(note, "note")
    print(printable(
        f"{made.path}: {made.runs} runs, {made.samples} samples, {made.pictures} pictures, {made.size / 1e6:.1f} MB"
    ))  # fmt: skip
