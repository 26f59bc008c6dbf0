"""Data for the made-up task of `made_up/colours.py`: tiny squares, written in a moment."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image

from kosmos_eval.api import load_task
from kosmos_eval.cell import Cell
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.plugins import prompt_file
from kosmos_eval.run import run_path
from kosmos_eval.store import RunFolder
from kosmos_eval.task import Task

TASKS_DIR = Path(__file__).parent / "made_up"


def write_colours(folder: Path, counts: dict[str, int], rationales: bool = False) -> Path:
    """A data folder with so many samples per split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in counts.items():
        rows = []
        for i in range(count):
            colour = "red" if i % 2 else "blue"
            PIL.Image.new("RGB", (4, 4), colour).save(folder / f"{split}{i}.png")
            row = {
                "id": f"{split}/{i}",
                "image": f"{split}{i}.png",
                "question": f"Which colour, {i}?",
                "colour": colour,
            }
            rows.append({**row, "rationale": f"all {colour}"} if rationales else row)
        (folder / f"{split}.json").write_text(json.dumps(rows))
    return folder


def colours(folder: Path, split: str | None = None) -> Task:
    """The made-up task over such a folder."""
    return load_task("colours", data=folder, split=split, tasks_dir=TASKS_DIR)


def cell(
    task: Task,
    prompt: str = "standard",
    *,
    shots: int = 0,
    demos: str = "fixed",
    seed: int = 0,
    limit: int | None = None,
    prompts: Path | None = None,
) -> Cell:
    """A cell of the made-up task."""
    templates = prompt_file("colours", prompts, TASKS_DIR)
    return Cell.of(task, templates, prompt, shots=shots, demos=demos, seed=seed, limit=limit)


def kept(cells: Iterable[Cell], out: Path) -> list[Any]:
    """All that the runs say, without the clock and the number of the unit."""
    found = []
    for one in cells:
        folder = RunFolder(run_path(out, one, FakeModel()))
        records = {key: replace(record, seconds=0.0, unit=0) for key, record in folder.records().items()}
        found.append((records, folder.scores(), folder.per_sample(), folder.samples(), folder.manifest().counts))
    return found
