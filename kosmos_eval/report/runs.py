"""The finished runs below a folder, put side by side: a setting is what runs share that differ in the prompt only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kosmos_eval.manifest import Manifest
from kosmos_eval.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["right", "part", "wrong", "graded", "failed", ""]
"""What an answer is worth: full marks, half of them or more, less; a figure that has no right or wrong (CIDEr); no
answer; not asked."""

Kind = Literal["binary", "share", "graded"]

SENSITIVE = frozenset({"hateful_memes"})
"""Tasks whose pictures and texts are shown only to whoever asks to see them."""

_HALF = 0.5


class Mark(NamedTuple):
    """A sample's verdict under one prompt, and the metric's value for it where it has one."""

    verdict: Verdict
    value: float | None = None


@dataclass(frozen=True)
class Run:
    """One finished run, under the names that the leaderboard gives its model and data."""

    path: str
    folder: RunFolder
    manifest: Manifest
    model: str
    data: str

    @cached_property
    def metric(self) -> str | None:
        """The per-sample value that says how good an answer is: accuracy where there is one (AUC has none of its own),
        else the headline metric's."""
        names = next((values.keys() for _, values in self.folder.each_per_sample() if values), frozenset[str]())
        if "accuracy" in names:
            return "accuracy"
        scores = (self.folder.scores() or {}).get("scores", [])
        primary = next((str(s["metric"]) for s in scores if s["primary"]), None)
        return primary if primary in names else None

    def values(self) -> dict[str, float | None]:
        """That value by sample id, of the samples that were answered."""
        return {i: values.get(str(self.metric)) for i, values in self.folder.each_per_sample()}


@dataclass
class Setting:
    """Runs on the same samples under the same conditions, by prompt."""

    task: str
    data: str
    split: str
    model: str
    shots: int
    demos: str
    seed: int
    runs: dict[str, Run] = field(default_factory=dict)

    @property
    def sensitive(self) -> bool:
        return self.task in SENSITIVE

    @property
    def metric(self) -> str | None:
        return next((run.metric for run in self.runs.values() if run.metric), None)

    def marks(self) -> Marks:
        """Every sample's marks. A pass over the runs' files; nothing of it is kept here."""
        values = [run.values() for run in self.runs.values()]
        kind = self._kind({v for by_id in values for v in by_id.values() if v is not None})
        ids: dict[str, None] = {}
        for run in self.runs.values():
            ids.update(dict.fromkeys(row["id"] for row in run.folder.each_sample()))
        errors = [(run.folder.scores() or {}).get("errors", {}) for run in self.runs.values()]
        return Marks(
            kind,
            {i: tuple(_mark(i, v, e, kind) for v, e in zip(values, errors, strict=True)) for i in ids},
        )

    def _kind(self, values: set[float]) -> Kind:
        if values <= {0.0, 1.0}:
            return "binary"
        return "share" if str(self.metric).endswith("accuracy") else "graded"


class Marks(NamedTuple):
    """A setting's marks by sample id, in the order of the data; each sample's in the order of the setting's prompts."""

    kind: Kind
    by_sample: dict[str, tuple[Mark, ...]]


def flips(marks: tuple[Mark, ...]) -> bool:
    """Whether one prompt has it right and another wrong."""
    found = {mark.verdict for mark in marks}
    return "wrong" in found and bool(found & {"right", "part"})


def _mark(sample_id: str, values: Mapping[str, float | None], errors: Mapping[str, str], kind: Kind) -> Mark:
    if sample_id in errors:
        return Mark("failed")
    if sample_id not in values:
        return Mark("")
    value = values[sample_id]
    if value is None or kind == "graded":
        return Mark("graded", value)
    if value >= 1:
        return Mark("right", value)
    return Mark("part" if value >= _HALF else "wrong", value)


def settings_of(root: Path, board: pd.DataFrame) -> list[Setting]:
    """The runs that a leaderboard (per seed) shows, grouped into settings in its order, `standard` first in each."""
    found: dict[tuple[Any, ...], Setting] = {}
    for row in board.drop_duplicates("run").to_dict("records"):
        folder = RunFolder(root / str(row["run"]))
        m = folder.manifest()
        run = Run(str(row["run"]), folder, m, str(row["model"]), str(row["data"]))
        key = (m.task, run.data, m.split, run.model, m.shots, str(row["demos"]), m.seed)
        setting = found.setdefault(key, Setting(*key))
        setting.runs[str(row["prompt"])] = run
    for setting in found.values():
        setting.runs = {p: setting.runs[p] for p in sorted(setting.runs, key=prompt_order)}
    return list(found.values())


def prompt_order(prompt: str) -> tuple[bool, bool, str]:
    """`standard`, `mcot`, then the others by name: the order in which prompts stand and get their colours."""
    return prompt != "standard", prompt != "mcot", prompt
