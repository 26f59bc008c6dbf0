"""Comparisons as a table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.comparison.evidence import Evidence, evidence
from kosmos_eval.comparison.pairing import Pair, Unpaired, pair
from kosmos_eval.metrics.statistics import holm
from kosmos_eval.tables.runs import finished_runs

if TYPE_CHECKING:
    import pandas as pd

WHAT = ("task", "metric", "model", "prompt", "shots", "demos", "seed", "split", "data")
FIGURES = (
    "baseline", "variant", "score_baseline", "score_variant", "difference", "low", "high", "p", "p_holm", "test",
    "n", "seeds", "excluded", "n_for_80_power",
)  # fmt: skip
FLIPS = ("both_right", "only_baseline", "only_variant", "both_wrong", "worse", "equal", "better")
PROVENANCE = (
    "primary", "model_fingerprint", "dtype", "prompt_hash", "data_fingerprint", "run_baseline", "run_variant"
)  # fmt: skip
COLUMNS = ("by", *WHAT, *FIGURES, *FLIPS, *PROVENANCE)
_INTEGERS = ("n_for_80_power", *FLIPS)


def compare(
    folder: str | Path,
    by: str,
    baseline: str | None = None,
    metric: str | None = None,
    per_seed: bool = False,
) -> pd.DataFrame:
    """Compares the finished runs below a folder that differ in `by` (prompt, shots, model or seed) and in nothing else.

    One row a comparison with `baseline` (default: the prompt `standard`, the fewest shots, the first model or seed), by
    each task's primary metric or by `metric`, on the samples that both answered. Seeds are pooled, clustered by sample,
    unless `per_seed`. Scores and differences are times 100, the difference is variant minus baseline with its 95 %
    interval `low` to `high`; `p_holm` is adjusted over all rows of one kind of data. `attrs["unpaired"]` lists the runs
    that are not compared, each with its `run` and the `reason`; `attrs["unfinished"]` counts the unfinished ones.

    Raises UsageError for a folder without runs and for a baseline that no run has.
    """
    import pandas as pd

    runs, unfinished = finished_runs(folder)
    pairs, unpaired = pair(runs, by, baseline, per_seed) if runs else ([], [])
    rows = []
    for found in pairs:
        name = metric or found.baseline[0].primary or ""
        result = evidence(found, name)
        if isinstance(result, str):
            unpaired += [Unpaired(run.name, result) for run in found.variant]
        else:
            rows.append(_row(by, found, name, result))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    for column in _INTEGERS:
        frame[column] = frame[column].astype("Int64")
    if len(frame):
        frame["p_holm"] = frame.groupby("data")["p"].transform(lambda p: holm(list(p)))
    frame = _sorted(_told_apart(frame, by))
    frame.attrs = {"unpaired": [asdict(u) for u in unpaired], "unfinished": unfinished}
    return frame


def _row(by: str, pair: Pair, metric: str, found: Evidence) -> dict[str, Any]:
    m = pair.variant[0].manifest
    shared = {
        "by": by,
        "task": m.task,
        "metric": metric,
        "model": m.model,
        "prompt": m.prompt,
        "shots": m.shots,
        "demos": m.shown_demos(order=len(pair.variant) == 1),
        "seed": ",".join(dict.fromkeys(str(run.manifest.seed) for run in pair.variant)),
        "split": m.split,
        "data": m.data,
        "primary": metric == pair.variant[0].primary,
        "model_fingerprint": m.model_fingerprint,
        "dtype": m.dtype,
        "prompt_hash": m.prompt_hash,
        "data_fingerprint": m.data_fingerprint,
    }
    figures = {
        "baseline": pair.names[0],
        "variant": pair.names[1],
        "score_baseline": found.scores[0],
        "score_variant": found.scores[1],
        "difference": found.difference,
        "low": found.interval.low if found.interval else None,
        "high": found.interval.high if found.interval else None,
        "p": found.p_value,
        "test": found.test,
        "n": found.n,
        "seeds": len({run.manifest.seed for run in pair.variant}),
        "excluded": found.excluded,
        "n_for_80_power": found.needed,
        "run_baseline": "; ".join(run.name for run in pair.baseline),
        "run_variant": "; ".join(run.name for run in pair.variant),
    }
    flips = dict(zip(FLIPS, (*(found.flips or (None,) * 4), *(found.moved or (None,) * 3)), strict=True))
    return {**shared, by: pair.names[1], **figures, **flips}


_MARKS = {"model": "model_fingerprint", "prompt": "prompt_hash", "data": "data_fingerprint"}


def _told_apart(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """With a fingerprint behind what has one name and is not the same; what is compared has its own names."""
    for name, mark in _MARKS.items():
        if name != by:
            several = frame.groupby(["task", "split", "shots", name])[mark].transform("nunique") > 1
            frame.loc[several, name] += "@" + frame.loc[several, mark].str[:8]
    return frame


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    """By data and task; then in the order in which the table is read."""
    by = ["data", "task", "split", "metric", "model", "prompt", "shots", "demos", "seed", "variant"]
    return frame.sort_values(by, kind="stable").reset_index(drop=True)
