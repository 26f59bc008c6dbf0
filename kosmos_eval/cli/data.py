"""`kosmos-eval data ...`: check, make and render benchmark data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kosmos_eval.cli.common import FAULT, Data, TasksDir, console, make_mini, printable, reporting

if TYPE_CHECKING:
    from rich.table import Table

    from kosmos_eval.data.check import CheckReport

app = typer.Typer(no_args_is_help=True)
_UNREADABLE_SHOWN = 20


@app.command()
@reporting
def mini(
    task: Annotated[list[str] | None, typer.Argument(help="Task names; all of the suite by default.")] = None,
) -> None:
    """Generates the mini suite, small procedural benchmarks in the official layouts, and says where it lies.

    Example: kosmos-eval data mini vqav2
    """
    from kosmos_eval.data.mini import MINI_TASKS, ensure_mini

    make_mini(task or MINI_TASKS)
    for name in task or MINI_TASKS:
        console().print(printable(str(ensure_mini(name))), markup=False, soft_wrap=True)


@app.command("render-sst2")
@reporting
def render_sst2(
    sentences: Annotated[Path, typer.Argument(help="A file of `label sentence` lines, label 0 or 1.")],
    out: Annotated[Path, typer.Argument(help="The folder that gets {split}/{negative,positive}/*.png.")],
    split: Annotated[str, typer.Option(help="The split to write: train, valid or test.")] = "test",
) -> None:
    """Renders sentences into Rendered SST-2's official layout. Results from it are labelled `re-rendered`.

    Example: kosmos-eval data render-sst2 stsa.binary.dev sst2-rendered --split valid
    """
    from kosmos_eval.data.render_text import render_sst2 as render

    made = render(sentences, out, split)
    console().print(f"{made} pictures in {printable(str(out / split))}", markup=False, soft_wrap=True)


@app.command()
@reporting
def check(
    task: Annotated[str, typer.Argument(help="The task's name.")],
    data: Data,
    decode: Annotated[bool, typer.Option(help="Open every image, or only look at the lists.")] = True,
    tasks_dir: TasksDir = None,
) -> None:
    """Says what a data folder holds, against the official counts: what is missing, unreadable, and where to put it.

    Example: kosmos-eval data check hateful_memes --data /data/hateful_memes
    """
    from kosmos_eval.api import task_over
    from kosmos_eval.data.check import check as check_of
    from kosmos_eval.plugins import task_class

    report = check_of(*task_over(task_class(task, tasks_dir), data), decode=decode)
    screen = console()
    screen.print(_check_table(report))
    for split in report.splits:
        for line in split.unreadable[:_UNREADABLE_SHOWN]:
            screen.print(printable(f"{split.split}: {line}"), markup=False, soft_wrap=True)
    if report.missing:
        screen.print(printable(f"missing: {', '.join(report.missing)}"), markup=False, soft_wrap=True)
        screen.print(printable(f"expected in {report.data}: {report.layout}"), markup=False, soft_wrap=True)
    if not report.usable:
        raise typer.Exit(FAULT)


def _check_table(report: CheckReport) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("split", "samples", "official", "images", "unreadable", "balance", "note")
    table.title = Text(printable(f"{report.task} in {report.data} ({report.label})"))
    for s in report.splits:
        balance = ", ".join(f"{label or '–'} {count}" for label, count in sorted(s.labels.items()))
        official = "–" if s.official is None else str(s.official)
        cells = (s.split, str(s.samples), official, str(s.images), str(len(s.unreadable)), balance, s.note)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table
