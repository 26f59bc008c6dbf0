"""The finished runs below a folder, and the values they stored for each sample: what every table is made from."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import DataError, UsageError
from kosmos_eval.manifest import MANIFEST, Manifest
from kosmos_eval.metrics.base import PER_CENT, group_name
from kosmos_eval.store import AGAIN, PER_SAMPLE, SAMPLES, RunFolder

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_SAME = 1e-6
"""Relative: a stored score is the mean of stored values, or it is another kind of figure."""


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRun:
    """A finished run: what it was, and what it scored."""

    name: str
    """Its folder, seen from the folder that was searched."""
    folder: RunFolder
    manifest: Manifest
    scores: Mapping[str, Any]

    @property
    def figures(self) -> dict[str, dict[str, Any]]:
        """Its scores by metric, as `scores.json` has them."""
        return {score["metric"]: score for score in self.scores["scores"]}

    @property
    def primary(self) -> str | None:
        """The task's headline metric."""
        return next((score["metric"] for score in self.scores["scores"] if score["primary"]), None)

    @property
    def values(self) -> pd.DataFrame:
        """The metrics' values by sample id, one column a metric; a sample without an answer has no row."""
        return _values(*self._stamp(PER_SAMPLE))

    def _stamp(self, file: str) -> tuple[Path, int]:
        path = self.folder.path / file
        return self.folder.path, path.stat().st_mtime_ns if path.is_file() else 0

    @property
    def asked(self) -> frozenset[str]:
        """The ids of all samples it was asked about, answered or not."""
        return frozenset(self.values.index) | frozenset(self.scores["errors"])

    def asked_for(self, metric: str) -> int:
        """How many samples it was asked that a metric is about: all of them, or those of the metric's group."""
        _, _, group = metric.partition("/")
        if not group:
            return self.manifest.counts.samples
        return int((_groups(*self._stamp(SAMPLES)) == group).sum())

    def mean_values(self, metric: str) -> pd.Series | None:
        """The samples' values whose mean (times 100) is the metric's score; None where the score is no mean.

        BLEU and METEOR of a corpus, an F1, an area under a curve are none, and a baseline has no values.
        """
        base, _, group = metric.partition("/")
        score = self.figures.get(metric, {}).get("value")
        if score is None or base not in self.values:
            return None
        found = self.values[base].dropna()
        if group:
            groups = _groups(*self._stamp(SAMPLES))
            found = found[groups.reindex(found.index).to_numpy() == group]
        if not len(found) or abs(PER_CENT * found.mean() - score) > _SAME * max(1.0, abs(score)):
            return None
        return found

    def margins(self, metric: str) -> pd.DataFrame | None:
        """For an area under the ROC curve: columns `margin` and `label` by sample id; None for other metrics."""
        columns = {f"{metric}_margin": "margin", f"{metric}_label": "label"}
        if self.figures.get(metric, {}).get("value") is None or not set(columns) <= set(self.values):
            return None
        return self.values[list(columns)].rename(columns=columns).dropna()


def finished_runs(folder: str | Path) -> tuple[list[FinishedRun], int]:
    """The finished runs below a folder, by name, and how many are not finished. Raises UsageError where none is."""
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder; give the --out of a run")
    runs: list[FinishedRun] = []
    unfinished = 0
    for path in sorted(root.rglob(MANIFEST)):
        run = RunFolder(path.parent)
        manifest, scores = run.manifest(), run.scores()
        if manifest.status == "finished" and scores is not None:
            runs.append(FinishedRun(path.parent.relative_to(root).as_posix(), run, manifest, scores))
        else:
            unfinished += 1
    if not runs and not unfinished:
        raise UsageError(f"{root}: no runs below it; `kosmos-eval run` makes one")
    return runs, unfinished


def aligned(columns: Sequence[pd.Series], absent: float) -> tuple[pd.Index, NDArray[np.float64]]:
    """Several seeds' values by sample: the ids of all, sorted, and an array of shape (seeds, ids)."""
    import numpy as np

    ids = reduce(lambda known, more: known.union(more), [column.index for column in columns]).sort_values()
    return ids, np.stack([column.reindex(ids, fill_value=absent).to_numpy(dtype=float) for column in columns])


@lru_cache(maxsize=16)  # a comparison reads a baseline's values once for each of its variants
def _values(folder: Path, stamp: int) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    ids: list[str] = []
    columns: dict[str, array[float]] = {}
    for sample_id, values in RunFolder(folder).each_per_sample():
        for name, value in values.items():
            if name not in columns:
                columns[name] = array("d", [np.nan]) * len(ids)
            columns[name].append(value)
        ids.append(sys.intern(sample_id))
        for column in columns.values():
            if len(column) < len(ids):
                column.append(np.nan)
    order, index = _by_id(ids, folder / PER_SAMPLE)
    return pd.DataFrame({name: np.asarray(column)[order] for name, column in columns.items()}, index)


@lru_cache(maxsize=16)
def _groups(folder: Path, stamp: int) -> pd.Series:
    """The samples' groups by id, as they are called in a metric's name."""
    import numpy as np
    import pandas as pd

    ids: list[str] = []
    numbers: dict[str | None, int] = {None: -1}
    codes = array("i")
    for row in RunFolder(folder).each_sample():
        ids.append(sys.intern(row["id"]))
        group = None if row["group"] is None else group_name(row["group"])
        codes.append(numbers.setdefault(group, len(numbers) - 1))
    names = [name for name in numbers if name is not None]
    order, index = _by_id(ids, folder / SAMPLES)
    return pd.Series(pd.Categorical.from_codes(np.asarray(codes)[order], pd.Index(names)), index)


def _by_id(ids: list[str], file: Path) -> tuple[NDArray[np.intp], pd.Index]:
    """The order that sorts the ids, and their index."""
    import numpy as np

    names = np.array(ids, dtype=object)
    order = np.argsort(names, kind="stable")
    index = _index(tuple(names[order]))
    if not index.is_unique:
        raise DataError(f"{file}: holds {index[index.duplicated()][0]!r} twice; {AGAIN}")
    return order, index


@lru_cache(maxsize=4)
def _index(ids: tuple[str, ...]) -> pd.Index:
    """Runs on the same samples share one index: in a large split the ids take more room than the values."""
    import pandas as pd

    return pd.Index(ids, dtype=object)
