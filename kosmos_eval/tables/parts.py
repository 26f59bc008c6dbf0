"""How tables are read, on a terminal, in Markdown or in a paper: parts of few columns, every cell a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

UNDEFINED = "–"


@dataclass(frozen=True, slots=True)
class Part:
    """A small table with what is to be said about all of it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers, and stand to the right."""
        return tuple(all(map(_is_number, (row[i] for row in self.rows))) for i in range(len(self.columns)))


def number(value: Any, digits: int = 1, sign: bool = False) -> str:
    """A figure; nothing where there is none."""
    if not present(value):
        return ""
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def probability(value: Any) -> str:
    """A p-value, as far as it says something."""
    if not present(value):
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def span(low: Any, high: Any, sign: bool = False) -> str:
    """An interval; nothing where there is none."""
    if not present(low) or not present(high):
        return ""
    return f"[{number(low, sign=sign)}, {number(high, sign=sign)}]"


def present(value: Any) -> bool:
    """Whether a cell of a data frame holds anything: not None, NaN or NA."""
    import pandas as pd

    return not pd.isna(value)


def varying(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """The columns that are to be shown because they differ, and `name value` for each of the others."""
    shown = [column for column in columns if frame[column].astype(str).nunique() > 1]
    return shown, [f"{column} {frame[column].iloc[0]}" for column in columns if column not in shown]


def _is_number(text: str) -> bool:
    return not any(c.isalpha() for c in text) or text.startswith("<")
