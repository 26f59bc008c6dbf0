"""`kosmos-eval score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kosmos_eval.cli.common import Data, Split, TasksDir, console, printable, reporting

if TYPE_CHECKING:
    from kosmos_eval.metrics.base import Score


@reporting
def score(
    task: Annotated[str, typer.Argument(help="The task's name.")],
    predictions: Annotated[Path, typer.Option(help="VQA or COCO results JSON, or JSON lines of {id, prediction}.")],
    data: Data = "mini",
    split: Split = None,
    partial: Annotated[bool, typer.Option(help="Accept missing and extra ids; score those that meet.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    tasks_dir: TasksDir = None,
) -> None:
    """Scores predictions made elsewhere, by this task's metrics. Needs no images and no model.

    Example: kosmos-eval score vqav2 --data /data/vqav2 --split val2014 --predictions results.json
    """
    from kosmos_eval.api import load_task
    from kosmos_eval.score import score_file

    loaded = load_task(task, data, split, tasks_dir)
    scores = score_file(loaded.samples, loaded.metrics, predictions, partial=partial, answers=loaded.answers)
    if json:
        _print_json(loaded.name, loaded.split, loaded.data_label, scores)
    else:
        _print_table(scores)


def _print_json(task: str, split: str, data: str, scores: list[Score]) -> None:
    import json
    from dataclasses import asdict

    found = {"task": task, "split": split, "data": data, "scores": [asdict(score) for score in scores]}
    print(json.dumps(found, indent=2, allow_nan=False))


def _print_table(scores: list[Score]) -> None:
    from rich.table import Table

    table = Table("metric", "score", "stderr", "n", "reason")
    for score in scores:
        figure = "–" if score.value is None else f"{score.value:.2f}"
        error = "" if score.stderr is None else f"{score.stderr:.2f}"
        style = "bold" if score.primary else None
        table.add_row(score.metric, figure, error, str(score.n), printable(score.reason or ""), style=style)
    console().print(table)
