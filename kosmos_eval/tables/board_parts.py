"""The leaderboard as it is read: a table a task, with what could be had without looking; other metrics side by side."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any

from kosmos_eval.tables.parts import UNDEFINED, Part, number, present, probability, span, varying
from kosmos_eval.tables.published import DATA as PUBLISHED

if TYPE_CHECKING:
    import pandas as pd

_UNFIT = "does not fit"
_SPREADS = (
    ("seed_sd", "", "± is the standard deviation between seeds"),
    ("order_sd", "°", "±…° is the standard deviation between orders of the same demonstrations"),
)


def board_parts(frame: pd.DataFrame, groups: bool = False) -> Iterator[Part]:
    """Per kind of data, which are never ranked together: the primary metric of each task, with the papers' figures
    where the board has them, then the other metrics; `groups` shows metrics by group too."""
    shown = frame if groups else frame[~frame["metric"].str.contains("/")]
    papers = shown[shown["data"] == PUBLISHED]
    for data, part in shown[shown["data"] != PUBLISHED].groupby("data", sort=False):
        primary = part[part["primary"]]
        for _, rows in primary.groupby(["task", "split", "metric"], sort=False):
            yield _task(rows, str(data))
        if not part["primary"].all():
            yield _others(part[~part["primary"]], f"data: {data}, other metrics")
    for _, rows in papers[papers["primary"].astype(bool)].groupby(["task", "metric"], sort=False):
        yield _published(rows)


def _task(rows: pd.DataFrame, data: str) -> Part:
    first = rows.iloc[0]
    shown, same = varying(rows, ("model", "demos", "seed"))
    spreads = [spread for spread in _SPREADS if rows[spread[0]].notna().any()]
    columns = (*shown, "shots", "prompt", "score", "95 % interval", "n", "vs standard", "p")
    lines = []
    for row in rows.to_dict("records"):
        score = _score(row) + "".join(f" ±{number(row[column])}{mark}" for column, mark, _ in spreads
                                      if present(row[column]))  # fmt: skip
        n = f"{row['n']} ({row['failed']} failed)" if row["failed"] else str(row["n"])
        cells = (*(row[c] for c in shown), row["shots"], row["prompt"], score, span(row["low"], row["high"]), n,
                 number(row["vs_standard"], sign=True), probability(row["vs_standard_p"]))  # fmt: skip
        lines.append(tuple(map(str, cells)))
    title = f"{first['task']}, {first['metric']} on {first['split']}, data: {data}{_without_looking(rows)}"
    notes = [", ".join(same), *(note for _, _, note in spreads), *_reasons(rows)]
    return Part(title, columns, tuple(lines), tuple(filter(None, notes)))


def _without_looking(rows: pd.DataFrame) -> str:
    """The scores of guessing and of a constant answer on these data."""
    said = []
    for column in ("chance", "constant"):
        values = {number(value) for value in rows[column] if present(value)}
        said += [f"{column} {' to '.join(sorted(values, key=float))}"] if values else []
    return f" ({', '.join(said)})" if said else ""


def _score(row: dict[Hashable, Any]) -> str:
    if not present(row["score"]):
        return _UNFIT if str(row["reason"]).startswith(_UNFIT) else UNDEFINED
    return f"{row['score']:.2g}" if str(row["metric"]).endswith("_p") else number(row["score"])


def _reasons(rows: pd.DataFrame) -> list[str]:
    undefined = rows[rows["score"].isna()].drop_duplicates(["task", "metric", "reason"])
    return [f"{UNDEFINED} {row['task']} {row['metric']}: {row['reason']}" for row in undefined.to_dict("records")]


def _others(rows: pd.DataFrame, title: str) -> Part:
    shown, _ = varying(rows, ("model", "demos", "seed"))
    splits = rows.groupby("task", sort=False)["split"].nunique()
    keys = ["task", *(["split"] if splits.max() > 1 else []), "metric", *shown, "shots"]
    prompts = list(dict.fromkeys(rows["prompt"]))
    lines = []
    for values, group in rows.groupby(keys, sort=False):
        by_prompt = {row["prompt"]: _with_error(row) for row in group.to_dict("records")}
        n = " / ".join(dict.fromkeys(map(str, group["n"])))
        lines.append((*map(str, values), *(by_prompt.get(prompt, "") for prompt in prompts), n))
    return Part(title, (*keys, *prompts, "n"), tuple(lines), tuple(_reasons(rows)))


def _with_error(row: dict[Hashable, Any]) -> str:
    error = number(row["stderr"]) if not str(row["metric"]).endswith("_p") and present(row["score"]) else ""
    return _score(row) + (f" ±{error}" if error else "")


def _published(rows: pd.DataFrame) -> Part:
    first = rows.iloc[0]
    notes = ["C: read in its source; X: cross-checked; M: from memory, to verify"]
    why = [str(reason) for reason in rows["not_comparable"]]
    columns = ["model", "prompt", "shots", "split", "score", ""]
    if len(set(why)) > 1:
        columns.append("not comparable")
    elif why[0]:
        notes.insert(0, f"not comparable: {why[0]}")
    lines = [
        (row["model"], row["prompt"], str(row["shots"]), row["split"], number(row["score"]), row["confidence"],
         *([row["not_comparable"]] if len(columns) > 6 else []))
        for row in rows.to_dict("records")
    ]  # fmt: skip
    title = f"published: {first['task']}, {first['metric']}"
    return Part(title, tuple(columns), tuple(tuple(map(str, line)) for line in lines), tuple(notes))
