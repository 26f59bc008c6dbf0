"""`kosmos-eval rescore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval.cli.common import TasksDir, fail, printable, reporting
from kosmos_eval.cli.tables import Csv, show


@reporting
def rescore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out of one or more runs.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Also by this one: a public metric such as ChanceBaseline, or FILE.py:NAME. May be repeated."
        ),
    ] = None,
    csv: Csv = None,
    tasks_dir: TasksDir = None,
) -> None:
    """Scores stored runs again, by metrics as they are now. Needs no model and no data; old scores are kept.

    Example: kosmos-eval rescore results --metric ChanceBaseline
    """
    from kosmos_eval.rescoring import rescore as scored_again
    from kosmos_eval.tables.export import write_csv
    from kosmos_eval.tables.parts import Part, number

    frame = scored_again(folder, metric or (), tasks_dir)
    changed = frame[~(frame["before"].eq(frame["after"]) | (frame["before"].isna() & frame["after"].isna()))]
    if csv is not None:
        write_csv(frame, csv)
    if len(changed):
        rows = [
            (str(r["run"]), str(r["metric"]), number(r["before"], 2), number(r["after"], 2), str(r["reason"] or ""))
            for r in changed.to_dict("records")
        ]
        show([Part("scores that changed", ("run", "metric", "before", "after", "reason"), tuple(rows))])
    print(printable(f"{frame['run'].nunique()} runs scored again; {len(changed)} of {len(frame)} scores changed"))
    for run in frame.attrs["refused"]:
        fail(f"{run['run']}: {run['reason']}", "not rescored")
    if unfinished := frame.attrs["unfinished"]:
        fail(f"{unfinished} runs are not finished and not rescored; the same `run` command completes them", "note")
    if frame.attrs["refused"]:
        raise typer.Exit(1)
