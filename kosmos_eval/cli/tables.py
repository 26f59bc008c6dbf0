"""What the commands that show tables share: how a table looks on a terminal, and the options to write it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kosmos_eval.cli.common import console, printable

if TYPE_CHECKING:
    import pandas as pd

    from kosmos_eval.tables.parts import Part

Csv = Annotated[Path | None, typer.Option(help="Writes the whole table, all columns, to this file.")]
Json = Annotated[Path | None, typer.Option(help="The same as JSON: a list of objects.")]
Markdown = Annotated[Path | None, typer.Option(help="Writes what is printed as Markdown.")]
Latex = Annotated[Path | None, typer.Option(help="Writes what is printed as LaTeX (booktabs).")]


def write(
    frame: pd.DataFrame,
    parts: Sequence[Part],
    csv: Path | None,
    markdown: Path | None,
    latex: Path | None,
    json: Path | None,
) -> None:
    """Writes a table in each form that a file was given for."""
    from kosmos_eval.tables.export import write_csv, write_json, write_latex, write_markdown

    for path, of_frame in ((csv, write_csv), (json, write_json)):
        if path is not None:
            of_frame(frame, path)
    for path, of_parts in ((markdown, write_markdown), (latex, write_latex)):
        if path is not None:
            of_parts(parts, path)


def show(parts: Iterable[Part]) -> None:
    """Prints parts as tables that fit 80 characters where their names do."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    screen = console()
    for part in parts:
        # Without vertical lines seven columns fit 80 characters.
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=Text(printable(part.title), "bold"))
        table.title_justify = table.caption_justify = "left"
        for name, right in zip(part.columns, part.numeric, strict=True):
            table.add_column(Text(printable(name)), justify="right" if right else "left", overflow="fold")
        for row in part.rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        screen.print(table)
        for note in part.notes:
            screen.print(Text(printable(note), "dim"))
        screen.print()
