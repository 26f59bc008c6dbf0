"""How runs land on a terminal: a line for each, and what went wrong at the end. Shared by `run` and `sweep`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kosmos_eval.cli.common import console, printable
from kosmos_eval.cli.progress import GridProgress

if TYPE_CHECKING:
    from kosmos_eval.cell import Cell
    from kosmos_eval.run import Done, Progress, RunResult

_ERRORS_SHOWN = 5


class Landing:
    """Shows a grid filling, on a terminal; prints each run as it is done. `faults` are for the end."""

    def __init__(self, cells: list[Cell]) -> None:
        self.faults: list[str] = []
        self.finished = 0
        self.total = len(cells)
        self.several = len({id(cell) for cell in cells}) < len(cells)  # models: they have their cells in common
        self.screen = console(stderr=True)
        self.view = GridProgress(cells, self.screen)

    @property
    def progress(self) -> Progress:
        return self.view

    def watch(self, runs: Iterable[Done]) -> None:
        """Takes the runs as they are done."""
        from kosmos_eval.run import CellFailure

        with self.view:
            for done in runs:
                self.view.landed(done.cell, _figure(done) if not isinstance(done, CellFailure) else "failed")
                if isinstance(done, CellFailure):
                    model = f"{done.model}: " if self.several else ""
                    self.faults.append(f"{model}{done.cell.title} seed {done.cell.seed}: {done.error}")
                else:
                    self.finished += 1
                    self.screen.print(_line(done, self.several), markup=False, soft_wrap=True)
                    self.faults.extend(_faults(done))


def _primary(done: RunResult) -> tuple[str, float | None, str | None] | None:
    scores = (done.folder.scores() or {"scores": []})["scores"]
    return next(((s["metric"], s["value"], s["reason"]) for s in scores if s["primary"]), None)


def _figure(done: RunResult) -> str:
    primary = _primary(done)
    return "done" if primary is None else "–" if primary[1] is None else f"{primary[1]:.1f}"


def _line(done: RunResult, several: bool) -> str:
    m = done.manifest
    primary = _primary(done)
    figure = "no metric"
    if primary is not None:
        figure = f"{primary[0]} {_figure(done)}" + (f" ({primary[2]})" if primary[2] else "")
    new = f"{done.asked} new answers" if done.asked else "was there"
    samples = f"{m.counts.answered} of {m.counts.samples} samples" if m.counts.failed else f"{m.counts.samples} samples"
    model = f"{m.model}: " if several else ""
    order = f" order {m.order}" if m.order else ""
    return printable(
        f"{model}{m.task} {m.prompt} {m.shots}-shot seed {m.seed}{order}: {figure}, {samples}, {new}"
    )


def _faults(done: RunResult) -> list[str]:
    """The samples that could not be answered, one line each, the first few by name."""
    m = done.manifest
    where = f"{m.task} {m.prompt} {m.shots}-shot"
    lines = [f"{where}: {sample_id}: {error}" for sample_id, error in list(done.errors.items())[:_ERRORS_SHOWN]]
    if len(done.errors) > _ERRORS_SHOWN:
        more = len(done.errors) - _ERRORS_SHOWN
        lines.append(f"{where}: and {more} more; see {done.folder.path / 'scores.json'}")
    return lines
