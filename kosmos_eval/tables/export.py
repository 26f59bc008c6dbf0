"""Tables as files: CSV for spreadsheets, JSON for programs, Markdown and LaTeX for papers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.disk import replace_file
from kosmos_eval.errors import UsageError
from kosmos_eval.tables.parts import Part

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\|`*_<>[]"} | {"\n": " ", "\r": " "})
_LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
    | {c: f"{{{c}}}" for c in "<>[]|"}  # a row that begins with [ would be read as the space above it
    | {"\n": " ", "\r": " "}
)


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Writes a table for spreadsheets.

    A text that one would take for a formula gets a quote before it; line breaks, at which some begin a new row, become
    blanks. Numbers stay numbers.
    """
    safe = frame.copy()
    for column in safe.columns:
        if safe[column].dtype.kind not in "biuf":
            safe[column] = [_neutral(value) for value in safe[column]]
    write_text(path, safe.to_csv(index=False), "--csv")


def write_json(frame: pd.DataFrame, path: str | Path) -> None:
    """Writes a table as a list of objects; what is undefined is `null`."""
    write_text(path, frame.to_json(orient="records", indent=2, double_precision=15) + "\n", "--json")


def write_markdown(parts: Iterable[Part], path: str | Path) -> None:
    """Writes parts as Markdown tables, numbers to the right."""
    blocks = []
    for part in parts:
        rule = "|" + "|".join("---:" if right else "---" for right in part.numeric) + "|"
        rows = [_markdown_row(part.columns), rule, *map(_markdown_row, part.rows)]
        notes = [note.translate(_MARKDOWN) for note in part.notes]
        blocks.append("\n\n".join([f"**{part.title.translate(_MARKDOWN)}**", "\n".join(rows), *notes]))
    write_text(path, "\n\n".join(blocks) + "\n", "--markdown")


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.translate(_MARKDOWN) for cell in cells) + " |"


def write_latex(parts: Iterable[Part], path: str | Path) -> None:
    """Writes parts as LaTeX tables (package booktabs), everything in them escaped."""
    blocks = []
    for part in parts:
        columns = "".join("r" if right else "l" for right in part.numeric)
        caption = ". ".join(text.translate(_LATEX) for text in (part.title, *part.notes))
        rows = [_latex_row(part.columns), r"\midrule", *map(_latex_row, part.rows)]
        lines = [r"\begin{table}", rf"\caption{{{caption}}}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *rows,
                 r"\bottomrule", r"\end{tabular}", r"\end{table}"]  # fmt: skip
        blocks.append("\n".join(lines) + "\n")
    write_text(path, "\n".join(blocks), "--latex")


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"


def write_text(path: str | Path, text: str, option: str) -> None:
    """Replaces a file in one step. Raises UsageError, naming the option, for a path that cannot be one, and StoreError
    where it cannot be written."""
    path = Path(path)
    if path.is_dir() or not path.name:
        raise UsageError(f"{option} {path}: is a folder; give the name of a file")
    replace_file(path, text, option)


def _neutral(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    flat = value.replace("\r", " ").replace("\n", " ")
    return f"'{flat}" if value.startswith(_FORMULA) else flat
