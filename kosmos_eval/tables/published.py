"""The papers' figures beside one's own: which of them may be compared, and why the others may not."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kosmos_eval.tables.origin import OFFICIAL, SUBSET

if TYPE_CHECKING:
    import pandas as pd

DATA = "published"
"""What the `data` of a published row says: no run made it."""
EXTRA = ("source", "confidence", "note", "not_comparable")

_SAME_SPLIT = {"iq50": "test", "test-dev": "test-dev2015"}
"""What the papers call a split, and the benchmark's files."""
_WHY = {
    "mini": "here are mini data",
    "re-rendered": "here are re-rendered pictures",
    "local": "the size of the official split is not known here",
    SUBSET: "here is a subset",
}


def published() -> pd.DataFrame:
    """`results/published.csv`: figures of the papers, each with its source and how well it is known.

    `confidence` is C (read in the source named), X (cross-checked against one) or M (from memory, to verify).
    """
    import pandas as pd

    from kosmos_eval.plugins import builtin_root

    return pd.read_csv(builtin_root() / "results" / "published.csv", keep_default_na=False, na_values={"score": [""]})


def beside(board: pd.DataFrame) -> pd.DataFrame:
    """The board, then the published rows of its tasks and metrics, marked `published` in the column `data`.

    New columns: `source`, `confidence`, `note`, and `not_comparable`, which says why a published row may not be ranked
    with any of the board's rows; it is empty where it may be.
    """
    import pandas as pd

    own: dict[tuple[Hashable, Hashable], list[dict[Hashable, Any]]] = {}
    for row in board.to_dict("records"):
        own.setdefault((row["task"], row["metric"]), []).append(row)
    papers = [row for row in published().to_dict("records") if (row["task"], row["metric"]) in own]
    rows = [
        {**row, "data": DATA, "primary": _primary(own[row["task"], row["metric"]]),
         "not_comparable": why_not(row, own[row["task"], row["metric"]])}
        for row in papers
    ]  # fmt: skip
    # What a published row does not have is empty, and does not turn the others' whole numbers into fractions.
    whole = [column for column in ("seed", "n", "failed", "seeds") if board[column].dtype.kind == "i"]
    both = pd.concat([board, pd.DataFrame(rows, columns=[*board.columns, *EXTRA]).astype(_empty(board))])
    timing = board.columns[-1]
    both = both[[*(column for column in both.columns if column != timing), timing]].reset_index(drop=True)
    return both.astype({"primary": "bool", **dict.fromkeys(whole, "Int64")})


def _empty(board: pd.DataFrame) -> dict[Hashable, str]:
    return {column: "float64" for column, kind in board.dtypes.items() if kind.kind == "f"}


def _primary(rows: Iterable[Mapping[Hashable, Any]]) -> bool:
    return any(row["primary"] for row in rows)


def why_not(paper: Mapping[Hashable, Any], own: Iterable[Mapping[Hashable, Any]]) -> str:
    """Why a published row may not be ranked with any of these rows; empty if it may be with one."""
    reasons: dict[str, None] = {}
    for row in own:
        reason = _why_not_with(paper, row)
        if not reason:
            return ""
        reasons[reason] = None
    return "; ".join(reasons)


def _why_not_with(paper: Mapping[Hashable, Any], row: Mapping[Hashable, Any]) -> str:
    source = str(row["data_source"])
    reasons = [] if source == OFFICIAL else [_WHY.get(source, f"here are {source} data")]
    theirs = str(paper["split"])
    short = theirs.split(" (")[0]
    if _SAME_SPLIT.get(short.lower(), short) != row["split"]:
        reasons.append(f"theirs is {theirs}, here is {row['split']}")
    return ", ".join(reasons)
