"""The leaderboard: one row a run and metric, with the evidence for its score. Pure: made from what is stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import UsageError
from kosmos_eval.examination.report import Report, reports
from kosmos_eval.tables.figures import figure
from kosmos_eval.tables.language import averages
from kosmos_eval.tables.origin import data_source, samples_per_second, verdict, versions_of
from kosmos_eval.tables.runs import FinishedRun, finished_runs

if TYPE_CHECKING:
    import pandas as pd

KEY = ("model", "task", "prompt", "shots", "demos", "seed", "split", "data", "metric")
FIGURES = ("score", "n", "failed", "primary")
EVIDENCE = (
    "stderr", "low", "high", "seeds", "seed_sd", "orders", "order_sd", "chance", "constant", "vs_standard",
    "vs_standard_p", "reason",
)  # fmt: skip
PROVENANCE = (
    "rule", "data_source", "rationale", "data_fingerprint", "prompt_hash", "model_fingerprint", "dtype", "versions",
    "doctor", "run",
)  # fmt: skip
TIMING = ("samples_per_s",)
COLUMNS = (*KEY, *FIGURES, *EVIDENCE, *PROVENANCE, *TIMING)
"""Timing comes last, so that two boards of the same work can be compared without it."""
_NUMBERS = ("score", "stderr", "low", "high", "seed_sd", "order_sd", "chance", "constant", "vs_standard",
            "vs_standard_p", "samples_per_s")  # fmt: skip

_CHANCE = {"accuracy": ("chance",)}
_CONSTANT = {
    "accuracy": ("majority",), "exact_match": ("majority",), "vqa_accuracy": ("vqa_constant", "constant_unanswerable")
}  # fmt: skip
"""Which scores of the same run say what could be had without looking, by metric."""
_HALF = {"roc_auc": 50.0}
"""The area of any answer that does not look."""

Runs = tuple[FinishedRun, ...]


def leaderboard(folder: str | Path, per_seed: bool = False, with_published: bool = False) -> pd.DataFrame:
    """One row per (model, task, prompt, shots, demos, split, data, metric) of the finished runs below a folder, and one
    for the average of the language tasks.

    Seeds, and of each the orders of its demonstrations, are aggregated unless `per_seed`: `seed` then lists the seeds,
    `orders` counts the orders, `seed_sd` and `order_sd` are the spread of scores between them. Scores are on the
    papers' scale (times 100), `low` to `high` is the 95 % interval; an undefined one is empty, with its reason. Of runs
    that differ in nothing but `--limit` the largest are shown. Models, wordings of a prompt, data folders, pools of
    demonstrations or indexes of one name are told apart by their fingerprints. `attrs["unfinished"]` counts the runs
    that are left out because they are not finished. `with_published` adds the papers' rows
    (`kosmos_eval.tables.published.beside`).
    """
    runs, unfinished = finished_runs(folder)
    groups = _grouped(runs, per_seed)
    names = _names(groups)
    against = _against_standard([run for group in groups for run in group], per_seed)
    examined = list(reports(folder).values())
    rows = [row for group in groups for row in _rows(group, names[group], against, examined)]
    frame = _sorted(_typed([*rows, *averages(_typed(rows))]))
    if with_published:
        from kosmos_eval.tables.published import beside

        frame = beside(frame)
    frame.attrs["unfinished"] = unfinished
    return frame


def _typed(rows: Sequence[Mapping[Any, Any]]) -> pd.DataFrame:
    """Numbers that are not there are NaN, in a column that has none, too."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({**dict.fromkeys(_NUMBERS, "float64"), "primary": "bool"})


def _grouped(runs: Sequence[FinishedRun], per_seed: bool) -> list[Runs]:
    """The runs of each row: seeds and orders together, of one extent, the largest; of runs made twice the latest."""
    by_row: defaultdict[tuple[Any, ...], dict[int, dict[tuple[int, int], FinishedRun]]] = defaultdict(dict)
    for run in sorted(runs, key=lambda r: (r.manifest.created, r.name)):
        m = run.manifest
        row = (*_shown(run), m.model_fingerprint, m.dtype, m.prompt_hash, m.data_fingerprint, m.rationale,
               m.demos_index, m.demos_fingerprint)  # fmt: skip
        key = (*row, m.seed, m.order) if per_seed else row
        by_row[key].setdefault(m.counts.samples, {})[m.seed, m.order] = run  # a limit of the whole split is none
    return [tuple(run for _, run in sorted(extents[max(extents)].items())) for extents in by_row.values()]


def _shown(run: FinishedRun) -> tuple[Any, ...]:
    m = run.manifest
    return m.model, m.task, m.prompt, m.shots, m.shown_demos(), m.split, m.data


def _names(groups: Sequence[Runs]) -> dict[Runs, dict[str, str]]:
    """What each row's model, prompt and data are called: with a fingerprint where rows are alike without it."""
    alike: defaultdict[tuple[Any, ...], list[Runs]] = defaultdict(list)
    for group in groups:
        alike[_shown(group[0])].append(group)
    return {group: _name(group, same) for same in alike.values() for group in same}


def _name(group: Runs, alike: Sequence[Runs]) -> dict[str, str]:
    m = group[0].manifest

    def marked(name: str, field: str) -> str:
        several = len({getattr(other[0].manifest, field) for other in alike}) > 1
        mark = getattr(m, field)
        return f"{name}@{mark[:8]}" if several and mark else name

    several_dtypes = len({other[0].manifest.dtype for other in alike}) > 1
    return {
        "model": marked(m.model, "model_fingerprint") + (f" {m.dtype}" if several_dtypes else ""),
        "prompt": marked(m.prompt, "prompt_hash"),
        "data": marked(m.data, "data_fingerprint"),
        "demos": marked(marked(m.shown_demos(order=len(group) == 1), "demos_index"), "demos_fingerprint"),
    }


def _against_standard(runs: Sequence[FinishedRun], per_seed: bool) -> dict[Runs, Any]:
    """The rows' pairs with the standard prompt, by the runs of the row; a row that cannot be paired has none."""
    from kosmos_eval.comparison.pairing import pair

    try:
        pairs, _ = pair(runs, "prompt", "standard", per_seed) if runs else ([], [])
    except UsageError:  # no run has it
        return {}
    return {found.variant: found for found in pairs}


def _rows(
    group: Runs, names: dict[str, str], against: dict[Runs, Any], examined: Sequence[Report]
) -> Iterator[dict[str, Any]]:
    m = group[0].manifest
    seeds = list(dict.fromkeys(run.manifest.seed for run in group))
    common = {
        **names,
        "task": m.task,
        "shots": m.shots,
        "seed": seeds[0] if len(seeds) == 1 else ",".join(map(str, seeds)),
        "split": m.split,
        "failed": sum(run.manifest.counts.failed for run in group),
        "seeds": len(seeds),
        "orders": len({run.manifest.order for run in group}),
        "data_source": data_source(m),
        "rationale": m.rationale,
        "data_fingerprint": m.data_fingerprint,
        "prompt_hash": m.prompt_hash,
        "model_fingerprint": m.model_fingerprint,
        "dtype": m.dtype,
        "versions": versions_of([run.manifest for run in group]),
        "doctor": verdict([run.manifest for run in group], examined),
        "run": "; ".join(run.name for run in group),
        "samples_per_s": samples_per_second([run.folder for run in group]),
    }
    metrics = dict.fromkeys(metric for run in group for metric in run.figures)
    for metric in metrics:
        yield {**common, **_figures(group, metric), **_difference(against.get(group), metric)}


def _figures(group: Runs, metric: str) -> dict[str, Any]:
    found = figure(group, metric)
    stored = next(run.figures[metric] for run in group if metric in run.figures)
    return {
        "metric": metric,
        "score": found.score,
        "n": found.n,
        "primary": stored["primary"],
        "stderr": found.stderr,
        "low": found.interval.low if found.interval else None,
        "high": found.interval.high if found.interval else None,
        "seed_sd": found.seed_sd,
        "order_sd": found.order_sd,
        "chance": _HALF.get(metric) or _baseline(group, _CHANCE.get(metric, ())),
        "constant": _HALF.get(metric) or _baseline(group, _CONSTANT.get(metric, ())),
        "reason": found.reason,
        "rule": stored.get("rule"),
    }


def _baseline(group: Runs, metrics: Sequence[str]) -> float | None:
    there = [metric for metric in metrics if any(metric in run.figures for run in group)]
    return figure(group, there[0]).score if there else None


def _difference(pair: Any, metric: str) -> dict[str, Any]:
    from kosmos_eval.comparison.evidence import evidence

    found = evidence(pair, metric) if pair is not None else ""
    return {} if isinstance(found, str) else {"vs_standard": found.difference, "vs_standard_p": found.p_value}


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    """By data, task and metric, the primary one first; then what is to be compared stands next to each other."""
    first_seed = [int(str(seed).split(",")[0]) for seed in frame["seed"]]
    order = frame.assign(
        _secondary=~frame["primary"], _seed=first_seed, _variant=frame["prompt"] != "standard", _place=range(len(frame))
    )
    by = ["data", "task", "split", "_secondary", "metric", "model", "shots", "demos", "_seed", "_variant", "prompt"]
    return frame.loc[order.sort_values([*by, "_place"], kind="stable").index].reset_index(drop=True)
