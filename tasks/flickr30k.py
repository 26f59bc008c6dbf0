"""Flickr30k captions (Young et al. 2014): Karpathy's JSON, or the official token file with split lists."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from kosmos_eval import Captioned, Captions, CaptionTask, DataError, read_split_list, read_token_file

LISTS = ("{split}.txt", "{split}_images.txt", "flickr30k_{split}.txt", "{split}_list.txt")
FOLDERS = ("flickr30k-images", "flickr30k_images", "images", "Images")


class Flickr30k(CaptionTask):
    """A sample's id is its image's file name. KOSMOS-1 evaluates on Karpathy's test split, of 1,000 images."""

    name = "flickr30k"
    splits = {"eval": "test", "demos": "train"}
    metrics = (Captions(),)
    official_counts = {"train": 29_000, "val": 1_014, "test": 1_000}
    layout = (
        "dataset_flickr30k.json (Karpathy), or results_20130124.token with {train,val,test}.txt (file names, "
        "one a line), and the images in flickr30k-images/"
    )
    karpathy_stem = "dataset_flickr30k"

    @property
    def token_file(self) -> Path:
        return self.data / "results_20130124.token"

    def available_splits(self) -> list[str]:
        if self.karpathy or not self.token_file.exists():
            return list(self.karpathy)
        if not (there := [s for s in self.official_counts if self.split_list(s)]):
            raise DataError(f"{self.token_file}: does not say which image is of which split; add {LISTS[0]} beside it")
        return there

    def split_list(self, split: str) -> Path | None:
        paths = (self.data / name.format(split=split) for name in LISTS)
        return next((p for p in paths if p.exists()), None)

    def rows(self, split: str) -> Sequence[Captioned]:
        path = self.split_list(split)
        if self.karpathy or path is None:
            return super().rows(split)
        return read_split_list(path, read_token_file(self.token_file), self.token_file)

    @cached_property
    def folder(self) -> str:
        """Where the images are: the official folder, one of its usual names, or the data folder itself."""
        there = next((f for f in FOLDERS if (self.data / f).is_dir()), None)
        return f"{there}/" if there else ("" if any(self.data.glob("*.jpg")) else f"{FOLDERS[0]}/")

    def image_name(self, split: str, file: str) -> str:
        return f"{self.folder}{file}"
