"""The finished runs below a folder, and the values they stored for each sample: what every table is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import UsageError
from kosmos_eval.manifest import MANIFEST, Manifest
from kosmos_eval.metrics.base import PER_CENT, group_name
from kosmos_eval.store import PER_SAMPLE, SAMPLES, RunFolder

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
            found = found[found.index.isin(_groups(*self._stamp(SAMPLES)).get(group, ()))]
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
    import pandas as pd

    rows = RunFolder(folder).per_sample()
    return pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), dtype=object), dtype=float)


@lru_cache(maxsize=16)
def _groups(folder: Path, stamp: int) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in RunFolder(folder).samples():
        if row["group"] is not None:
            found.setdefault(group_name(row["group"]), set()).add(row["id"])
    return found
