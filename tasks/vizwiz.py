"""VizWiz-VQA: questions that blind people asked about their photographs (Gurari et al. 2018), https://vizwiz.org."""

from collections.abc import Iterator
from pathlib import Path

from kosmos_eval import ConstantBaseline, Record, Sample, Unanswerable, VqaAccuracy, VqaTask, by_id, read_list

ANSWER_TYPES = frozenset({"other", "unanswerable", "yes/no", "number"})


class VizWiz(VqaTask):
    """A sample's id is its image's file name. Reads the official lists, or open_flamingo's pairs of files."""

    name = "vizwiz"
    splits = {"eval": "val", "demos": "train"}
    metrics = (VqaAccuracy(), VqaAccuracy.normalised(), Unanswerable(), ConstantBaseline.unanswerable())
    results_keys = ("image", "answer")
    official_counts = {"train": 20_523, "val": 4_319, "test": 8_000}
    layout = (
        "{train,val,test}.json (or {split}_questions_vqa_format.json and {split}_annotations_vqa_format.json), "
        "with images {split}/VizWiz_{split}_00000000.jpg"
    )
    questions_stem = "{split}_questions"
    annotations_stem = "{split}_annotations"

    def list_file(self, split: str) -> Path:
        """The official list, at the top or in the folder that the official archive makes."""
        inner = self.data / "Annotations" / f"{split}.json"
        return inner if inner.exists() else self.data / f"{split}.json"

    def available_splits(self) -> list[str]:
        pairs = super().available_splits()
        return [s for s in self.official_counts if s in pairs or self.list_file(s).exists()]

    def image_name(self, split: str, image_id: str) -> str:
        return f"{split}/{image_id}"

    def sample_id(self, question: Record) -> str:
        return question.text("image_id")

    def answer_type(self, annotation: Record) -> str | None:
        # open_flamingo's file keeps the answer type under `question_type`
        kind = super().answer_type(annotation)
        if kind is None and annotation.has("question_type"):
            kind = annotation.text("question_type")
            return kind if kind in ANSWER_TYPES else None
        return kind

    def read(self, data: Path, split: str) -> Iterator[Sample]:
        path = self.list_file(split)
        if not path.exists():
            yield from super().read(data, split)
            return
        for image, record in by_id(read_list(path), "image").items():
            answered = record.has("answers")
            if not answered and split != "test":
                raise record.error(f"image {image!r} has no field 'answers'")
            more = {"answerable": bool(record.integer("answerable", 0, 1))} if record.has("answerable") else {}
            yield self.make_sample(image, self.image_name(split, image), record, record if answered else None, more)
