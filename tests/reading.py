"""Helpers of the reader tests: read everything, expect one error, take a record file apart and write it back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders
import pytest
from builders import LAYOUTS, OTHER_FILES, Layout

from kosmos_eval.data import images
from kosmos_eval.errors import DataError
from kosmos_eval.plugins import task_class
from kosmos_eval.task import Sample, Task

by_name = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
RECORD_FILES = [layout for layout in (*LAYOUTS, *OTHER_FILES) if layout.file]
by_file = pytest.mark.parametrize(
    "layout", RECORD_FILES, ids=lambda layout: f"{layout.name}-{layout.rows or layout.file}"
)

Rows = list[dict[str, Any]]


def layout_of(name: str) -> Layout:
    """A layout by the name of its builder."""
    return next(layout for layout in LAYOUTS if layout.name == name)


def opened(layout: Layout, folder: Path) -> Task:
    return task_class(layout.task)(folder, layout.split)


def everything(layout: Layout, folder: Path) -> list[Sample]:
    """All samples, every image decoded."""
    samples = opened(layout, folder).samples
    for sample in samples:
        for image in (*sample.images, *sample.candidates.values()):
            images.load(image)
    return samples


def refused(layout: Layout, folder: Path, *named: str) -> str:
    """The one-line DataError that reading ends in; it names what it must."""
    with pytest.raises(DataError) as caught:
        everything(layout, folder)
    message = str(caught.value)
    assert "\n" not in message
    for part in named:
        assert part in message
    return message


def read_rows(layout: Layout, folder: Path) -> tuple[Any, Rows]:
    """The parsed file and, inside it, its records."""
    text = (folder / str(layout.file)).read_text()
    if str(layout.file).endswith(".jsonl"):
        rows = [json.loads(line) for line in text.splitlines()]
        return rows, rows
    value = json.loads(text)
    return value, value[layout.rows] if layout.rows else value


def write_value(layout: Layout, folder: Path, value: Any) -> None:
    path = folder / str(layout.file)
    write: Callable[[Path, Any], None] = builders.write_jsonl if path.suffix == ".jsonl" else builders.write_json
    write(path, value)


def where_of(layout: Layout, rows: Rows) -> str:
    """How an error names the last record."""
    return f"line {len(rows)}" if str(layout.file).endswith(".jsonl") else f"[{len(rows) - 1}]"
