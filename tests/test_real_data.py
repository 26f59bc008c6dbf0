"""Readers on real files, where they lie beside the checkout: what is counted is what the releases are known to hold."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from kosmos_eval.data import images
from kosmos_eval.data.check import check, unreadable_images
from kosmos_eval.plugins import task_class
from kosmos_eval.task import Task

SHARED = Path(os.environ.get("KOSMOS_EVAL_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"


def real(task: str, folder: str, split: str | None = None) -> Task:
    """A task on a real folder; without it the test is skipped."""
    path = SHARED / folder
    if not path.is_dir():
        pytest.skip(f"{path} is not there (KOSMOS_EVAL_SHARED names another place)")
    return task_class(task)(path, split)


def test_vqav2() -> None:
    task = real("vqav2", "vqav2")
    assert (task.split, task.available_splits(), task.data_label) == ("train2014", ["train2014"], "local")
    assert len(task.samples) == 112
    assert len({s.images for s in task.samples}) == 73
    assert all(len(s.target) == 10 and s.answer.strip() in s.target for s in task.samples)
    assert unreadable_images([s.images[0] for s in task.samples]) == []
    assert task.demonstration_pool()[1] is True


def test_coco_captions() -> None:
    task = real("coco_captions", "coco_captions")
    assert (task.split, len(task.samples)) == ("train2017", 80)
    assert Counter(len(s.target) for s in task.samples) == {5: 80}
    assert unreadable_images([s.images[0] for s in task.samples]) == []


def test_vizwiz() -> None:
    """Answer types as kosmos-facts.md has them for val."""
    task = real("vizwiz", "vizwiz")
    assert (task.split, len(task.samples)) == ("val", 4_319)
    assert Counter(s.group for s in task.samples) == {
        "other": 2_691,
        "unanswerable": 1_385,
        "yes/no": 195,
        "number": 48,
    }
    assert all(len(s.target) == 10 for s in task.samples)
    report = check(type(task), task.data, decode=False)
    assert {s.split: s.complete for s in report.splits} == {"train": False, "val": True, "test": False}


def test_flickr30k() -> None:
    task = real("flickr30k", "flickr30k")
    assert {split: len(task.load(split)) for split in task.available_splits()} == {"val": 1_014, "test": 1_000}
    assert all(len(s.target) == 5 for s in task.samples)


def test_raven_from_npz_and_from_pictures() -> None:
    """The same puzzles, the same pixels, whichever way they come."""
    total = 0
    for split in ("train", "val", "test"):
        pictures = {s.id: s for s in real("raven_iq", "raven", split).samples}
        arrays = {s.id: s for s in real("raven_iq", "raven/npz", split).samples}
        assert pictures.keys() == arrays.keys()
        total += len(arrays)
        for puzzle_id, puzzle in arrays.items():
            twin = pictures[puzzle_id]
            assert (puzzle.target, puzzle.fields) == (twin.target, twin.fields)
            assert (len(puzzle.images), len(puzzle.candidates)) == (8, 8)
            for a, b in zip(
                [*puzzle.images, *puzzle.candidates.values()], [*twin.images, *twin.candidates.values()], strict=True
            ):
                assert images.load(a).tobytes() == images.load(b).tobytes()
    assert total == 120
