"""COCO captions (Chen et al. 2015): Karpathy's JSON, or the official captions JSON."""

from collections.abc import Sequence
from pathlib import Path

from kosmos_eval import Captioned, Captions, CaptionTask, read_coco


class CocoCaptions(CaptionTask):
    """A sample's id is its COCO image id. KOSMOS-1 evaluates on Karpathy's test split, of 5,000 images."""

    name = "coco_captions"
    splits = {"eval": "test", "demos": "train"}
    metrics = (Captions(),)
    official_counts = {
        "train": 82_783, "restval": 30_504, "val": 5_000, "test": 5_000,
        "train2014": 82_783, "val2014": 40_504, "train2017": 118_287, "val2017": 5_000,
    }  # fmt: skip
    layout = (
        "dataset_coco.json (Karpathy) and/or captions_{train,val}{2014,2017}.json (here or in annotations/), "
        "with the images in {split}/"
    )
    karpathy_stem = "dataset_coco"

    def official_file(self, split: str) -> Path:
        inner = self.data / "annotations" / f"captions_{split}.json"
        return inner if inner.exists() else self.data / f"captions_{split}.json"

    def available_splits(self) -> list[str]:
        official = [s for s in self.official_counts if s[-4:].isdecimal() and self.official_file(s).exists()]
        return [*self.karpathy, *official]

    def default_split(self) -> str:
        there = self.available_splits()
        return next((s for s in ("test", "val2017", "val2014") if s in there), super().default_split())

    def demonstration_split(self) -> str:
        year = self.split[-4:]
        return f"train{year}" if year.isdecimal() else "train"

    def rows(self, split: str) -> Sequence[Captioned]:
        return super().rows(split) if split in self.karpathy else read_coco(self.official_file(split))

    def image_name(self, split: str, file: str) -> str:
        return file if split in self.karpathy else f"{split}/{file}"
