"""`kosmos-eval language`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval.cli.common import Demos, Limit, reporting
from kosmos_eval.cli.run import run
from kosmos_eval.cli.tables import show
from kosmos_eval.errors import UsageError


@reporting
def language(
    data: Annotated[Path, typer.Option(help="The folder with copa.jsonl, piqa.jsonl, and so on.")],
    model: Annotated[str, typer.Option(help="As for `run`.")] = "kosmos-mini",
    shots: Annotated[str, typer.Option(help="Numbers of demonstrations, separated by commas.")] = "0",
    demos: Demos = "fixed",
    seed: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0",
    limit: Limit = None,
    out: Annotated[Path, typer.Option(help="Where results are kept, in `runs/` below it.")] = Path("results"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Revision of a hub id.")] = None,
) -> None:
    """Runs the language tasks whose files are there, and prints their leaderboard, with the average.

    Example: kosmos-eval language --data DIR --shots 0,1,4 --limit 100
    """
    found = _there(data)
    failed: typer.Exit | None = None
    try:
        run(found, model=model, shots=shots, demos=demos, seed=seed, data=str(data), limit=limit, out=out,
            device=device, dtype=dtype, revision=revision)  # fmt: skip
    except typer.Exit as error:  # what could be answered is shown all the same
        failed = error
    _print(out, found)
    if failed is not None:
        raise failed


def _there(data: Path) -> list[str]:
    """The tasks of the suite that have a file."""
    from kosmos_eval.api import data_folder
    from kosmos_eval.plugins import task_class
    from kosmos_eval.tables.language import suite

    classes = {name: task_class(name) for name in suite()}
    if not data.is_dir():
        raise UsageError(f"{data}: no such folder; it should hold {classes['copa'].layout}, and others alike")
    found = [name for name, cls in classes.items() if cls(data_folder(name, data)).available_splits()]
    if not found:
        layouts = "; ".join(cls.layout.split(",")[0] for cls in classes.values())
        raise UsageError(f"{data}: no language task has its file there; each would be {layouts}")
    return found


def _print(out: Path, tasks: list[str]) -> None:
    """The suite's rows of the leaderboard, with the papers' beside them."""
    from kosmos_eval.tables import leaderboard
    from kosmos_eval.tables.board_parts import board_parts
    from kosmos_eval.tables.language import AVERAGE

    frame = leaderboard(out, with_published=True)
    own = frame["task"].isin(tasks) | frame["task"].str.startswith(AVERAGE)
    show(board_parts(frame[own & frame["primary"]]))
