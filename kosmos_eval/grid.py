"""Grids: cells by the product of what is given, planned and checked whole before the first is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path

from kosmos_eval.cell import Cell
from kosmos_eval.executor import Executor, InProcess
from kosmos_eval.faults import OnError
from kosmos_eval.models.base import Model
from kosmos_eval.plugins import prompt_file
from kosmos_eval.run import CellFailure, Done, Progress, complete, silent
from kosmos_eval.task import Task

__all__ = ["CellFailure", "plan_sweep", "sweep"]


def plan_sweep(
    tasks: Iterable[Task],
    prompts: Sequence[str],
    shots: Sequence[int],
    *,
    demos: str = "fixed",
    orders: int = 1,
    seeds: Sequence[int] = (0,),
    limit: int | None = None,
    prompts_path: Path | None = None,
    tasks_dir: Path | None = None,
) -> list[Cell]:
    """Every cell of the grid, in order, checked: an unknown name or too few demonstrations are found here."""
    cells: list[Cell] = []
    for task in tasks:
        templates = prompt_file(task.name, prompts_path, tasks_dir)
        for prompt in prompts:
            for k, seed in product(shots, seeds):
                cell = Cell.of(task, templates, prompt, shots=k, demos=demos, seed=seed, limit=limit)
                cells.extend(cell.in_orders(orders))
    return cells


def sweep(
    cells: Iterable[Cell],
    model: Model,
    out: Path,
    progress: Progress = silent,
    *,
    executor: Executor | None = None,
    on_error: OnError = "record",
) -> Iterator[Done]:
    """Runs cells, in this process unless an executor says where. One whose data (or Java) are at fault is reported, and
    does not stop the others."""
    return complete(cells, model, executor or InProcess(model), out, progress, on_error)
