"""Tables made from run folders. Pure: what they show can be made again from what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import UsageError
from kosmos_eval.manifest import MANIFEST, Manifest
from kosmos_eval.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

KEY = ("model", "task", "prompt", "shots", "demos", "seed", "split", "data", "metric")
FIGURES = ("score", "n", "failed", "primary")
PROVENANCE = ("stderr", "reason", "rationale", "model_fingerprint", "prompt_hash", "run")
COLUMNS = (*KEY, *FIGURES, *PROVENANCE)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class _Run:
    path: str
    manifest: Manifest
    scores: dict[str, Any]

    @property
    def key(self) -> tuple[Any, ...]:
        m = self.manifest
        return (m.model, m.task, m.prompt, m.shots, m.demos, m.seed, m.split, m.data)


def leaderboard(folder: str | Path) -> pd.DataFrame:
    """One row per (model, task, prompt, shots, demos, seed, split, data, metric) of the finished runs below a folder.

    Scores are on the papers' scale (times 100); an undefined one is empty, with its reason. Of runs that differ in
    nothing but `--limit` the largest is shown. Two models, or two data folders, of one name are told apart by their
    fingerprints. `attrs["unfinished"]` counts the runs that are left out because they are not finished.
    """
    import pandas as pd

    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder; give the --out of a run")
    runs, unfinished = _read(root)
    if not runs and not unfinished:
        raise UsageError(f"{root}: no runs below it; `kosmos-eval run` makes one")
    rows = [row for run, names in _distinct(runs) for row in _rows(run, names)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame = frame.astype({"score": "float64", "stderr": "float64", "primary": "bool"})
    frame.attrs["unfinished"] = unfinished
    return _sorted(frame)


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Writes a table for spreadsheets.

    A text that one would take for a formula gets a quote before it; line breaks, at which some begin a new row, become
    blanks. Numbers stay numbers.
    """
    path = Path(path)
    if path.is_dir() or not path.name:
        raise UsageError(f"--csv {path}: is a folder; give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    safe = frame.copy()
    for column in safe.columns:
        if safe[column].dtype.kind not in "biuf":
            safe[column] = [_neutral(value) for value in safe[column]]
    draft = path.with_name(f".{path.name}.draft")
    safe.to_csv(draft, index=False)
    draft.replace(path)


def _neutral(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    flat = value.replace("\r", " ").replace("\n", " ")
    return f"'{flat}" if value.startswith(_FORMULA) else flat


def _read(root: Path) -> tuple[list[_Run], int]:
    runs: list[_Run] = []
    unfinished = 0
    for path in sorted(root.rglob(MANIFEST)):
        folder = RunFolder(path.parent)
        manifest, scores = folder.manifest(), folder.scores()
        if manifest.status != "finished" or scores is None:
            unfinished += 1
            continue
        runs.append(_Run(path.parent.relative_to(root).as_posix(), manifest, scores))
    return runs, unfinished


def _distinct(runs: list[_Run]) -> Iterator[tuple[_Run, dict[str, str]]]:
    """The runs to show, with what their model and data are called: no two under one key."""
    by_key: dict[tuple[Any, ...], list[_Run]] = {}
    for run in runs:
        by_key.setdefault(run.key, []).append(run)
    for same in by_key.values():
        several_models = len({r.manifest.model_fingerprint for r in same}) > 1
        several_dtypes = len({r.manifest.dtype for r in same}) > 1
        several_data = len({r.manifest.data_fingerprint for r in same}) > 1
        largest: dict[tuple[str, str], _Run] = {}
        for run in sorted(same, key=lambda r: (r.manifest.counts.samples, r.manifest.created)):
            m = run.manifest
            model = m.model + (f"@{m.model_fingerprint[:8]}" if several_models else "")
            model += f" {m.dtype}" if several_dtypes else ""
            largest[model, m.data + (f"@{m.data_fingerprint[:8]}" if several_data else "")] = run
        for (model, data), run in largest.items():
            yield run, {"model": model, "data": data}


def _rows(run: _Run, names: dict[str, str]) -> Iterator[dict[str, Any]]:
    m = run.manifest
    common = {
        **names,
        "task": m.task,
        "prompt": m.prompt,
        "shots": m.shots,
        "demos": f"{m.demos} (same split)" if m.demos_same_split else m.demos,
        "seed": m.seed,
        "split": m.split,
        "failed": m.counts.failed,
        "rationale": m.rationale,
        "model_fingerprint": m.model_fingerprint,
        "prompt_hash": m.prompt_hash,
        "run": run.path,
    }
    for score in run.scores["scores"]:
        yield {
            **common,
            "metric": score["metric"],
            "score": score["value"],
            "n": score["n"],
            "primary": score["primary"],
            "stderr": score["stderr"],
            "reason": score["reason"],
        }


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    """By data, task and metric, the primary one first; then what is to be compared stands next to each other."""
    order = frame.assign(_secondary=~frame["primary"], _variant=frame["prompt"] != "standard", _place=range(len(frame)))
    by = ["data", "task", "split", "_secondary", "metric", "model", "shots", "demos", "seed", "_variant", "prompt"]
    return frame.loc[order.sort_values([*by, "_place"], kind="stable").index].reset_index(drop=True)
