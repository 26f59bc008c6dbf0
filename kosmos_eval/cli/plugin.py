"""`kosmos-eval plugin ...`: for authors of plugins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval.cli.common import FAULT, console, fail, printable, reporting

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _plugin() -> None:
    """Keeps `check` a command of its own."""


@app.command()
@reporting
def check(
    path: Annotated[Path, typer.Argument(help="A task file, a folder of them, or a package with a pyproject.toml.")],
    data: Annotated[Path | None, typer.Option(help="Some of its data: what it reads is then checked, too.")] = None,
) -> None:
    """Tells everything that is wrong with a plugin at once: class, prompts, and with --data what it reads and scores.

    Example: kosmos-eval plugin check examples/kosmos-eval-fruit --data fruit
    """
    from kosmos_eval.plugin_check import check_plugin

    report = check_plugin(path, data)
    for finding in report.findings:
        fail(f"{finding.where}: {finding.message}", finding.level)
    errors = sum(finding.level == "error" for finding in report.findings)
    tasks = ", ".join(report.tasks) or "no task"
    looked = "with its data" if data is not None else "without data (give --data)"
    line = f"{tasks}: checked {looked}; {errors} errors, {len(report.findings) - errors} warnings"
    console().print(printable(line), markup=False, soft_wrap=True)
    if not report.usable:
        raise typer.Exit(FAULT)
