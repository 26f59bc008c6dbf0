"""The language suite's average: a row of the board, made from the rows of its tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from kosmos_eval.data.readers.language import LanguageTask
from kosmos_eval.plugins import all_tasks
from kosmos_eval.tables.origin import OFFICIAL

if TYPE_CHECKING:
    import pandas as pd

AVERAGE, METRIC = "language_average", "accuracy"
_SAME = ("model_fingerprint", "dtype", "prompt", "shots", "seed")
"""What the rows of one average share, besides the sampler."""

Row = dict[Hashable, Any]


def suite() -> list[str]:
    """The names of the suite's tasks."""
    return sorted(name for name, cls in all_tasks().items() if issubclass(cls, LanguageTask))


def averages(board: pd.DataFrame) -> list[Row]:
    """An unweighted mean of the tasks' accuracies for each model, prompt, shots and seed that has several of them.

    Only an average of the whole suite bears the name of the published ones; another says of how many tasks it is.
    """
    tasks = suite()
    rows = board[board["task"].isin(tasks) & (board["metric"] == METRIC)].to_dict("records")
    groups: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[(*(row[column] for column in _SAME), _sampler(row))].append(row)
    return [_average(sorted(group, key=_task), len(tasks)) for group in groups.values() if _one_each(group)]


def _sampler(row: Row) -> str:
    """`fixed` of `fixed (same split)`: which split demonstrations come from is each task's own affair."""
    return str(row["demos"]).split(" ")[0]


def _task(row: Row) -> str:
    return str(row["task"])


def _one_each(group: Sequence[Row]) -> bool:
    """Whether there is something to average: several tasks, and no doubt which row is a task's."""
    return len(group) > 1 and len({_task(row) for row in group}) == len(group)


def _average(group: Sequence[Row], whole: int) -> Row:
    n, first = len(group), group[0]
    names = ", ".join(map(_task, group))
    missing = [_task(row) for row in group if row["score"] != row["score"]]
    errors = [float(row["stderr"]) for row in group]
    sources = {str(row["data_source"]) for row in group}
    source = min(sources - {OFFICIAL}, default=OFFICIAL)
    return {
        **{column: first[column] for column in ("model", "seed", "seeds", "versions", "data", *_SAME)},
        "demos": max((str(row["demos"]) for row in group), key=len),
        "task": AVERAGE if n == whole else f"{AVERAGE} ({n} of {whole})",
        "split": "all",
        "data_source": source,
        "metric": METRIC,
        "score": None if missing else sum(float(row["score"]) for row in group) / n,
        "stderr": sum(error**2 for error in errors) ** 0.5 / n,
        "n": sum(int(row["n"]) for row in group),
        "failed": sum(int(row["failed"]) for row in group),
        "primary": True,
        "reason": f"no score of {', '.join(missing)}" if missing else None,
        "rule": f"unweighted mean of {names}",
        "run": "; ".join(str(row["run"]) for row in group),
    }
