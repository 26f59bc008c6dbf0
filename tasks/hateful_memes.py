"""HatefulMemes (Kiela et al. 2020): is a picture with its caption hateful? KOSMOS-1 (table 7) is given no OCR text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kosmos_eval import (
    Accuracy,
    ChanceBaseline,
    DataError,
    MajorityBaseline,
    Record,
    RocAuc,
    Sample,
    Task,
    by_id,
    image_ref,
    read_jsonl,
)


class HatefulMemes(Task):
    """A sample's id is the file's `id` as a string. KOSMOS-1 says "validation": dev_seen, as far as is known."""

    name = "hateful_memes"
    answers = (" no", " yes")
    splits = {"eval": "dev_seen", "demos": "train"}
    metrics = (RocAuc(positive=" yes"), Accuracy(), MajorityBaseline(), ChanceBaseline())
    official_counts = {"train": 8_500, "dev_seen": 500, "dev_unseen": 540, "test_seen": 1_000, "test_unseen": 2_000}
    layout = "{train,dev_seen,dev_unseen,test_seen,test_unseen}.jsonl and img/*.png"

    def available_splits(self) -> list[str]:
        return [s for s in self.official_counts if (self.data / f"{s}.jsonl").exists()]

    def read(self, data: Path, split: str) -> Iterator[Sample]:
        records = by_id(read_jsonl(data / f"{split}.jsonl"), "id")
        # Test labels were withheld at first: a file has all of them or none.
        labelled = not split.startswith("test") or any(record.has("label") for record in records.values())
        for sample_id, record in records.items():
            yield self.sample(sample_id, record, labelled)

    def sample(self, sample_id: str, record: Record, labelled: bool) -> Sample:
        fields: dict[str, Any] = {"text": record.text("text", blank=True)}
        if record.has("rationale"):
            fields["rationale"] = record.line("rationale")
        try:
            images = (image_ref(self.data, record.text("img")),)
        except DataError as error:
            raise record.error(str(error)) from None
        if not labelled:
            return Sample(sample_id, images, fields)
        answer = self.answers[record.integer("label", 0, 1)]
        return Sample(sample_id, images, fields, answer, answer, label=answer.strip())
