"""The progress bars of a sweep: items a second and time left."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from kosmos_eval.cell import Cell
from kosmos_eval.round import What


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="progress.data.speed")


class SweepProgress:
    """One bar for the cells and one for what is under way; a callable, as `sweep` wants it."""

    def __init__(self, cells: int, console: Console) -> None:
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._all = self.bars.add_task("runs", total=cells)
        self._current: str | None = None
        self._bar = self.bars.add_task("", total=None, visible=False)

    def __enter__(self) -> SweepProgress:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def __call__(self, cell: Cell, phase: What, done: int, total: int) -> None:
        what = cell.title if phase == "answers" else f"{cell.title}: {phase}"
        if what != self._current:
            self._current = what
            self.bars.reset(self._bar, description=what, total=total, completed=0, visible=True)
        self.bars.update(self._bar, completed=done)

    def cell_done(self) -> None:
        self.bars.advance(self._all)
