"""How a forecast is shown: a row a run, and what all of them take together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kosmos_eval.tables.parts import UNDEFINED, Part, present

if TYPE_CHECKING:
    import pandas as pd

    from kosmos_eval.forecast import RunForecast

COLUMNS = (
    "model", "task", "prompt", "shots", "demos", "seed", "split", "data", "limit", "samples", "requests", "stored",
    "images", "tokens_alone", "tokens", "written_at_most", "unfit", "exact", "seconds",
)  # fmt: skip
_MEASURED = ("tokens_alone", "tokens", "written_at_most", "unfit", "seconds")
_SHOWN = (
    "task", "prompt", "shots", "seed", "samples", "requests", "stored", "images", "tokens alone", "shared", "time",
)  # fmt: skip


def forecast_table(runs: Sequence[RunForecast]) -> pd.DataFrame:
    """One row a run; see `kosmos_eval.dry_run`."""
    import pandas as pd

    frame = pd.DataFrame([_row(run) for run in runs], columns=list(COLUMNS))
    frame = frame.astype(dict.fromkeys(_MEASURED, "float64"))
    frame.attrs["images"] = len({(str(run.cell.task.data), name) for run in runs for name in run.pictures})
    return frame


def _row(run: RunForecast) -> dict[str, Any]:
    cell = run.cell
    return {
        "model": run.model, "task": cell.task.name, "prompt": cell.prompt, "shots": cell.shots, "demos": cell.demos,
        "seed": cell.seed, "split": cell.task.split, "data": cell.task.data_label, "limit": cell.limit,
        "samples": run.samples, "requests": run.requests, "stored": run.stored, "images": len(run.pictures),
        "tokens_alone": run.tokens_alone, "tokens": run.tokens, "written_at_most": run.written, "unfit": run.unfit,
        "exact": run.exact, "seconds": run.seconds,
    }  # fmt: skip


def forecast_parts(frame: pd.DataFrame) -> Iterator[Part]:
    """A table a model, data and split, and one of the sums."""
    for (model, data, split), runs in frame.groupby(["model", "data", "split"], sort=False):
        rows = tuple(_cells(run) for run in runs.to_dict("records"))
        yield Part(f"{model}, data: {data}, {split}", _SHOWN, rows)
    yield _total(frame)


def _cells(run: Mapping[Any, Any]) -> tuple[str, ...]:
    counts = (str(run[name]) for name in ("task", "prompt", "shots", "seed"))
    told = (f"{run[name]:,}" for name in ("samples", "requests", "stored", "images"))
    left = run["requests"] > run["stored"]
    return (
        *counts,
        *told,
        tokens(run["tokens_alone"]),
        tokens(run["tokens"]),
        duration(run["seconds"]) if left else "0 s",
    )


def _total(frame: pd.DataFrame) -> Part:
    left = frame[frame["requests"] > frame["stored"]]
    alone, shared = (left[name].sum(min_count=1) for name in ("tokens_alone", "tokens"))
    saved = f"{1 - shared / alone:.0%}" if present(alone) and alone else UNDEFINED
    unknown = int(left["seconds"].isna().sum())
    time = duration(left["seconds"].sum()) if unknown < len(left) or left.empty else UNDEFINED
    rows = [
        ("runs", f"{len(frame):,}, {len(frame) - len(left):,} of them complete"),
        ("samples", f"{frame['samples'].sum():,}"),
        ("requests", f"{frame['requests'].sum():,}, {frame['stored'].sum():,} of them stored"),
        ("images", f"{frame.attrs['images']:,}"),
        ("tokens left, each request alone", tokens(alone)),
        ("tokens left, shared", tokens(shared)),
        ("sharing saves", saved),
        ("written at most", tokens(left["written_at_most"].sum(min_count=1))),
        ("time left", f"{'at least ' if 0 < unknown < len(left) else ''}{time}"),
    ]
    return Part("in all", ("", "what is asked"), tuple(rows), tuple(_notes(left, unknown)))


def _notes(left: pd.DataFrame, unknown: int) -> Iterator[str]:
    if left["tokens"].notna().any():
        yield "tokens: positions of prompts, pictures included" + (
            "" if left["exact"].all() else "; estimated, from the first and the middle part of each plan and without "
            "what the model has yet to write"
        )  # fmt: skip
    if without := sorted(set(left["model"][left["tokens"].isna()])):
        yield f"tokens of {', '.join(without)}: not known, its tokenizer is not a KOSMOS one"
    if left["demos"].str.startswith("rices").any():
        yield "rices: as if its demonstrations were drawn at random; what is stored of such runs is not looked for"
    if unfit := left["unfit"].sum():
        what = "may need more positions than the model has: ask for fewer shots or a smaller max_tokens"
        yield f"about {unfit:,.0f} requests {what}"
    if unknown:
        yield (
            f"time: {unknown} runs have no earlier run of this model, device, task, prompt, shots and data below this "
            "--out to go by; run the sweep with a small `limit` first"
        )


def tokens(value: Any) -> str:
    """A number of tokens, to three digits."""
    if not present(value):
        return UNDEFINED
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 999.5 * size else f"{value / size:,.0f} {unit}"
    return f"{value:.0f}"


def duration(seconds: Any) -> str:
    """A time as a person says it."""
    if not present(seconds):
        return UNDEFINED
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
