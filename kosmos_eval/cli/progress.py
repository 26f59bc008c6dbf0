"""A grid that fills: a row a task and seed, a column a prompt and number of shots; below it speed and time left.

Of several models, which are asked one after the other, it shows the one whose turn it is.
"""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from kosmos_eval.cell import Cell
from kosmos_eval.cli.common import printable
from kosmos_eval.round import What

_AROUND = 8
"""Lines of the terminal that are left to what is not a row of the grid."""


class GridProgress:
    """A live view of cells; a callable, as runs want it. Off a terminal it shows nothing."""

    def __init__(self, cells: list[Cell], console: Console) -> None:
        self.console = console
        self.rows: dict[tuple[str, str, int, str], dict[tuple[str, int], Text]] = {}
        self.columns = list(dict.fromkeys((cell.prompt, cell.shots) for cell in cells))
        for cell in cells:
            self.rows.setdefault(_row(cell), {})[cell.prompt, cell.shots] = Text("·", "dim")
        self._under_way: dict[int, int] = {}
        self._landed: set[int] = set()
        self.bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"), TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        self._runs = self.bars.add_task("runs", total=len(cells), speed="")
        self._answers = self.bars.add_task("answers", total=0, speed="")
        self._live = Live(self, console=console, transient=True, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> GridProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, cell: Cell, what: What, done: int, total: int) -> None:
        self._begin_again(cell)
        share = f"{100 * done // max(1, total)}%"
        label = share if what == "answers" else f"{what} {share}"
        self.rows[_row(cell)][cell.prompt, cell.shots] = Text(label, "cyan")
        if what == "answers":
            if id(cell) not in self._under_way:
                self._add(total)
            self.bars.advance(self._answers, done - self._under_way.get(id(cell), 0))
            self._under_way[id(cell)] = done
            speed = self.bars.tasks[1].speed
            self.bars.update(self._answers, speed="" if speed is None else f"{speed:.1f}/s")

    def landed(self, cell: Cell, figure: str) -> None:
        """A run is done: its cell shows the headline figure."""
        self._begin_again(cell)
        self._landed.add(id(cell))
        style = "bold red" if figure == "failed" else "bold green"
        self.rows[_row(cell)][cell.prompt, cell.shots] = Text(figure, style)
        self.bars.advance(self._runs)

    def _begin_again(self, cell: Cell) -> None:
        """Empties the grid where a cell that has landed comes again: the next model has its turn."""
        if id(cell) in self._landed:
            self._landed.clear()
            self._under_way.clear()
            for row in self.rows.values():
                row.update((column, Text("·", "dim")) for column in row)

    def _add(self, total: int) -> None:
        self.bars.update(self._answers, total=(self.bars.tasks[1].total or 0) + total)

    def __rich__(self) -> Group:
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in ("task", "split", "seed", "demos"):
            table.add_column(name)
        for prompt, shots in self.columns:
            table.add_column(Text(printable(f"{prompt} {shots}")), justify="right")
        most = max(3, self.console.height - _AROUND)
        shown = list(self.rows.items())
        if len(shown) > most:  # what is under way is worth more than what has landed or has not begun
            busy = [row for row in shown if any(text.style == "cyan" for text in row[1].values())]
            shown = (busy or shown)[:most]
        for (task, split, seed, demos), found in shown:
            names = [Text(printable(name)) for name in (task, split, str(seed), demos)]
            table.add_row(*names, *(found.get(column, Text("")) for column in self.columns))
        hidden = len(self.rows) - len(shown)
        note = [Text(f"… and {hidden} more rows", "dim")] if hidden else []
        return Group(table, *note, self.bars)


def _row(cell: Cell) -> tuple[str, str, int, str]:
    demos = f"{cell.demos} order {cell.order}" if cell.order else cell.demos
    return cell.task.name, cell.task.split, cell.seed, demos
