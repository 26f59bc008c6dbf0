"""`kosmos-eval export ...`: our tasks for other harnesses, our answers for evaluation servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval.cli.common import Data, Limit, Prompts, Split, TasksDir, console, fail, names, printable, reporting

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _export() -> None:
    """Tasks for other harnesses, and a run's answers for an evaluation server."""


@app.command("predictions")
@reporting
def predictions(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder: results/runs/...")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    partial: Annotated[bool, typer.Option("--partial", help="Leaves out samples that have no answer.")] = False,
    tasks_dir: TasksDir = None,
) -> None:
    """Writes a run's answers as the results file that an evaluation server takes (and `kosmos-eval score` reads).

    Example: kosmos-eval export predictions results/runs/vqav2.standard.4shot... --out results.json
    """
    from kosmos_eval.interop.predictions import export_predictions

    count = export_predictions(run, out, partial, tasks_dir)
    console().print(printable(f"{out}: {count} answers"), markup=False, soft_wrap=True)


@app.command("lm-eval")
@reporting
def lm_eval(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the task files go.")],
    tasks: Annotated[str, typer.Option(help="Task names, separated by commas; `all` is every one with data.")] = "all",
    prompt: Annotated[str, typer.Option(help="The prompt's name.")] = "standard",
    data: Data = "mini",
    split: Split = None,
    limit: Limit = None,
    seed: Annotated[int, typer.Option(help="Draws the samples of --limit.")] = 0,
    tasks_dir: TasksDir = None,
    prompts: Prompts = None,
) -> None:
    """Writes tasks as a folder that lm-eval reads (`--include_path`), zero-shot, with our prompts and our metrics.

    Example: kosmos-eval export lm-eval lm-eval-tasks --tasks rendered_sst2,vqav2 --limit 64
    """
    from kosmos_eval.cli.common import names_with_data
    from kosmos_eval.errors import UsageError
    from kosmos_eval.interop import require_lm_eval
    from kosmos_eval.interop.export import Documents, export_lm_eval
    from kosmos_eval.plugins import task_class

    require_lm_eval()
    wanted = names_with_data(names(tasks, "--tasks"), data)
    for name in wanted:
        task_class(name, tasks_dir)
    asked: Documents = {
        "prompt": prompt, "data": _absolute(data), "split": split, "limit": limit, "seed": seed,
        "tasks_dir": _path(tasks_dir), "prompts": _path(prompts),
    }  # fmt: skip
    done = export_lm_eval(folder, wanted, asked)
    for task, reason in done.refused.items():
        fail(f"{task}: {reason}", "not exported")
    if not done.files:
        raise UsageError("nothing was exported")
    console().print(printable(f"in {folder}: {', '.join(done.files)}"), markup=False, soft_wrap=True)


def _path(given: Path | None) -> str | None:
    return None if given is None else str(given.resolve())


def _absolute(data: str) -> str:
    """A folder's whole path, since lm-eval may be started elsewhere; `mini` and `hub` as they are."""
    return str(Path(data).resolve()) if Path(data).is_dir() else data
