"""A made-up benchmark for tests: coloured squares, scored and with rationales in the data."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from kosmos_eval import Accuracy, DataError, Image, MajorityBaseline, RocAuc, Sample, Task


class Colours(Task):
    name = "colours"
    answers = (" red", " blue")
    splits = {"eval": "test", "demos": "train"}  # noqa: RUF012
    metrics = (Accuracy(), RocAuc(positive=" red"), MajorityBaseline())
    layout = "{train,test}.json and the images they name"

    def read(self, data: Path, split: str) -> Iterable[Sample]:
        path = data / f"{split}.json"
        if not path.is_file():
            raise DataError(f"{path}: missing")
        for row in json.loads(path.read_text()):
            yield Sample(
                id=row["id"],
                images=(Image(row["image"], path=data / row["image"]),),
                fields={"question": row["question"], "rationale": row.get("rationale")},
                target=row["colour"],
                answer=f" {row['colour']}",
                label=row["colour"],
            )
