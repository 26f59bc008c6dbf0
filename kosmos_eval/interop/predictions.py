"""A run's answers as a results file: what evaluation servers take, and what `kosmos-eval score` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from kosmos_eval.disk import replace_file
from kosmos_eval.errors import DataError
from kosmos_eval.plugins import task_class
from kosmos_eval.record import Record
from kosmos_eval.store import RunFolder


def export_predictions(run: Path, file: Path, partial: bool = False, tasks_dir: Path | None = None) -> int:
    """Writes the answers of a run's folder to a file; returns how many.

    A JSON list of the keys that the task's results files have (VQA: https://visualqa.org/evaluation.html; captions:
    https://cocodataset.org/#captions-eval), or JSON lines of `{id, scores}` or `{id, prediction}`. Raises DataError
    where samples have no answer, unless `partial`: servers refuse a file that lacks some.
    """
    folder = RunFolder(run)
    manifest = folder.manifest()
    keys = task_class(manifest.task, tasks_dir).results_keys
    rows, missing = [], []
    for sample_id, record in _answers(folder, manifest.counts.samples if manifest.status == "finished" else None):
        if record is None or record.response.error is not None or not record.response.fits:
            missing.append(sample_id)
        else:
            rows.append(_row(sample_id, record, keys))
    if missing and not partial:
        raise DataError(
            f"{run}: {len(missing)} of {len(missing) + len(rows)} samples have no answer, {missing[0]!r} first; the "
            "same `run` command asks them again, --partial leaves them out"
        )
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    replace_file(file, ("[" + ",\n".join(lines) + "]\n") if keys else "".join(f"{line}\n" for line in lines))
    return len(rows)


def _answers(folder: RunFolder, count: int | None) -> Iterator[tuple[str, Record | None]]:
    """Every sample with its response, in the order of the data."""
    with closing(folder.index()) as index:
        for sample in folder.each_sample(count):
            yield sample["id"], index.record((sample["id"], sample["prompt_hash"]))


def _row(sample_id: str, record: Record, keys: tuple[str, str] | None) -> dict[str, Any]:
    text, scores = (record.response.text or "").strip(), record.response.scores
    if keys is None:
        return {"id": sample_id, "prediction": text} if scores is None else {"id": sample_id, "scores": scores}
    if scores:
        text = max(scores, key=scores.__getitem__).strip()
    number = keys[0].endswith("_id") and sample_id.isdecimal()
    return {keys[0]: int(sample_id) if number else sample_id, keys[1]: text}
