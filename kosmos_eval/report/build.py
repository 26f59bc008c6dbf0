"""From a folder of runs to one HTML file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.comparison import compare
from kosmos_eval.disk import replace_file
from kosmos_eval.environment import versions
from kosmos_eval.errors import UsageError
from kosmos_eval.report import charts
from kosmos_eval.report.figures import Forest, boards, forests, panels
from kosmos_eval.report.page import page
from kosmos_eval.report.payload import Payload
from kosmos_eval.report.pictures import Pictures
from kosmos_eval.report.prompts import Sources
from kosmos_eval.report.runs import Run, prompt_order, settings_of
from kosmos_eval.report.selection import Selection, select
from kosmos_eval.tables import leaderboard

if TYPE_CHECKING:
    import pandas as pd

MAX_SAMPLES = 20_000
_SHOWN = 5
PICTURE_BYTES = 10_000_000
"""How much of the file pictures may take, encoded; those of flips are the first to be had."""

KEYS = (
    (("j", "k"), "next and previous sample"),
    (("/",), "search"),
    (("f",), "next outcome: right, wrong, flips, ..."),
    (("x",), "all samples again"),
    (("v",), "show what is hidden of the open sample"),
    (("1", "2", "…"), "go to a section"),
    (("t",), "light or dark"),
    (("Esc",), "leave the search, close a sample or this"),
)


@dataclass(frozen=True, slots=True)
class Report:
    """What was written, and what it holds."""

    path: Path
    runs: int
    samples: int
    """Rows of the browser: one sample in one setting (all prompts)."""
    left_out: int
    pictures: int
    size: int
    """Bytes of the file."""
    notes: tuple[str, ...]


def write_report(
    folder: str | Path,
    path: str | Path | None = None,
    *,
    max_samples: int = MAX_SAMPLES,
    data: str | Path | None = None,
    tasks_dir: str | Path | None = None,
) -> Report:
    """Writes the report of the finished runs below a folder; `report.html` in it by default.

    data: where the tasks' files are now, if not where the runs read them; a prompt is shown only as the data give it,
    and is checked against the hash on record.

    Raises UsageError where there is no finished run, DataError for a run folder that cannot be read.
    """
    if max_samples < 1:
        raise UsageError(f"--max-samples {max_samples}: ask for one sample at least")
    root = Path(folder)
    board = leaderboard(root, per_seed=True)
    if board.empty:
        raise UsageError(f"{root}: no finished run below it; the same `run` command finishes them")
    out = root / "report.html" if path is None else Path(path)
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; give the name of a file")
    settings = settings_of(root, board)
    selection = select(settings, max_samples)
    sources = Sources(None if data is None else Path(data), None if tasks_dir is None else Path(tasks_dir))
    pictures = Pictures(PICTURE_BYTES)
    gathered = Payload(settings, selection, sources)
    prompts = sorted(set(board["prompt"]), key=prompt_order)
    payload = {"prompts": prompts, **gathered.build(pictures)}
    notes = tuple(_notes(board, selection, gathered, pictures))
    runs = [run for setting in settings for run in setting.runs.values()]
    text = page(_view(root, runs, payload, notes), payload, pictures.entries)
    replace_file(out, text)
    return Report(
        out, len(gathered.runs), len(selection.rows), selection.left_out, len(pictures.entries), len(text), notes
    )


def _view(root: Path, runs: list[Run], payload: dict[str, Any], notes: tuple[str, ...]) -> dict[str, Any]:
    board = leaderboard(root)
    prompts = payload["prompts"]
    found, forest_notes = _compared(root, prompts)
    has_puzzles = any(candidates for _, _, _, _, candidates, _ in payload["samples"])
    has_memes = any(s["sensitive"] for s in payload["settings"])
    sections = [("leaderboard", "Leaderboard")]
    sections += [("differences", "Prompts compared")] if found else []
    sections += [("shots", "Shots")]
    sections += [("puzzles", "Puzzles")] if has_puzzles else []
    sections += [("memes", "Memes")] if has_memes else []
    sections += [("samples", "Samples"), ("provenance", "Runs")]
    return {
        "title": root.resolve().name,
        "version": versions()["kosmos-eval"],
        "summary": _summary(runs),
        "made": _made(),
        "sections": sections,
        "notes": notes,
        "prompts": prompts,
        "boards": list(boards(board, prompts)),
        "reasons": list(_reasons(board)),
        "forests": found,
        "forest_notes": forest_notes,
        "panels": panels(board, prompts),
        "size": (charts.WIDTH, charts.HEIGHT),
        "left": charts.LEFT,
        "right": charts.RIGHT,
        "has_puzzles": has_puzzles,
        "has_memes": has_memes,
        "runs": runs,
        "keys": KEYS,
    }


def _compared(root: Path, prompts: list[str]) -> tuple[list[Forest], list[str]]:
    """What each prompt changes against `standard`, and what could not be compared."""
    if "standard" not in prompts or len(prompts) < 2:
        return [], []
    frame = compare(root, "prompt")
    notes = [f"{len(frame)} differences; p by {_listed(frame['test'])}, adjusted by Holm over each kind of data."]
    unpaired = list(frame.attrs["unpaired"])
    notes += [f"Not compared: {u['run']}: {u['reason']}." for u in unpaired[:_SHOWN]]
    if len(unpaired) > _SHOWN:
        notes.append(f"Not compared: {len(unpaired) - _SHOWN} more; `kosmos-eval compare` lists them.")
    return forests(frame, prompts), notes


def _listed(column: pd.Series) -> str:
    return ", ".join(sorted(set(column)))


def _summary(runs: list[Run]) -> str:
    models = dict.fromkeys(run.model for run in runs)
    tasks = dict.fromkeys(run.manifest.task for run in runs)
    days = sorted(run.manifest.created[:10] for run in runs)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    return f"{len(tasks)} task{'s' if len(tasks) > 1 else ''} · {', '.join(models)} · {when}"


def _made() -> str:
    return (
        f"Made by kosmos-eval {versions()['kosmos-eval']} from the run folders below, without a model. Prompts were "
        "made again from the tasks' data and checked against the hash on record; pictures are shown as the "
        "data have them now."
    )


def _reasons(board: pd.DataFrame) -> Iterator[str]:
    """Why some figures are not there."""
    undefined = board[board["score"].isna()].drop_duplicates(["task", "metric", "reason"])
    for row in undefined.to_dict("records"):
        yield f"{row['task']} {row['metric']}: {row['reason']}"


def _notes(board: pd.DataFrame, selection: Selection, gathered: Payload, pictures: Pictures) -> Iterator[str]:
    """What a reader has to know before the first figure."""
    if board["data"].str.startswith("mini").any():
        yield (
            "mini: figures marked mini are from small generated stand-ins for the benchmarks. They say "
            "nothing about the "
            "official ones."
        )
    if unfinished := board.attrs.get("unfinished"):
        yield f"{unfinished} runs are not finished and not shown."
    if selection.left_out:
        yield (
            f"{len(selection.rows):,} of {selection.total:,} samples are in the browser below: "
            f"{selection.flips_shown:,} of {selection.flips:,} flips first, then those "
            "without an answer, then others by the hash of their ids. "
            "Tables and charts are over all samples."
        )
    if gathered.differing:
        yield (
            f"{gathered.differing:,} prompts, made again, differ from what was asked: the data or the wording of the "
            "task have changed since. Each of them says so."
        )
    if gathered.unknown:
        reasons = dict.fromkeys(str(run["missing"]) for run in gathered.runs if run["missing"])
        yield f"{gathered.unknown:,} prompts could not be made again{': ' if reasons else ''}{'; '.join(reasons)}."
    if pictures.left_out:
        yield f"{pictures.left_out:,} pictures are left out, to keep the file small; those of flips were taken first."
    if pictures.unreadable:
        name, reason = next(iter(pictures.unreadable.items()))
        yield f"{len(pictures.unreadable):,} pictures cannot be read, the first is {name}: {reason}."
