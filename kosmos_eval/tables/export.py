"""Tables as files: CSV for spreadsheets, JSON for programs, Markdown and LaTeX for papers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\|`*_<>[]"} | {"\n": " ", "\r": " "})


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


def write_markdown(frame: pd.DataFrame, path: str | Path) -> None:
    """Writes a table of texts as it would be read, numbers to the right."""
    lines = [list(map(str, frame.columns)), *frame.astype(str).to_numpy().tolist()]
    numeric = [all(_is_number(value) for value in frame[column]) for column in frame.columns]
    rows = ["| " + " | ".join(cell.translate(_MARKDOWN) for cell in line) + " |" for line in lines]
    rows.insert(1, "|" + "|".join("---:" if right else "---" for right in numeric) + "|")
    write_text(path, "\n".join(rows) + "\n", "--markdown")


def write_latex(frame: pd.DataFrame, path: str | Path) -> None:
    """Writes a table of texts as a LaTeX tabular (package booktabs), everything in it escaped."""
    columns = "".join("r" if all(_is_number(v) for v in frame[c]) else "l" for c in frame.columns)
    escaped = frame.rename(columns=str).astype(str)
    write_text(path, escaped.to_latex(index=False, escape=True, column_format=columns), "--latex")


def write_text(path: str | Path, text: str, option: str) -> None:
    """Replaces a file in one step. Raises UsageError, naming the option, for a path that cannot be one."""
    path = Path(path)
    if path.is_dir() or not path.name:
        raise UsageError(f"{option} {path}: is a folder; give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    draft.replace(path)


def _neutral(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    flat = value.replace("\r", " ").replace("\n", " ")
    return f"'{flat}" if value.startswith(_FORMULA) else flat


def _is_number(text: object) -> bool:
    return str(text).lstrip("+−-").replace(".", "", 1).isdecimal() or not str(text)
