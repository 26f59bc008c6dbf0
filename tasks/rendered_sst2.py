"""Rendered SST-2: the sentiment of opinions shown as text (CLIP, Radford et al. 2021: data/rendered-sst2.md)."""

from collections.abc import Iterator
from pathlib import Path

from kosmos_eval import (
    Accuracy,
    ChanceBaseline,
    DataError,
    MajorityBaseline,
    Sample,
    Task,
    image_ref,
    rationale_field,
    read_rationales,
)

LABELS = ("negative", "positive")


class RenderedSST2(Task):
    """A sample's id is its path within the split: `positive/0001.png`."""

    name = "rendered_sst2"
    answers = (" positive", " negative")
    splits = {"eval": "test", "demos": "train"}
    metrics = (Accuracy(), MajorityBaseline(), ChanceBaseline())
    official_counts = {"train": 6_920, "valid": 872, "test": 1_821}
    layout = "rendered-sst2.tgz unpacked: {train,valid,test}/{negative,positive}/*.png"

    def available_splits(self) -> list[str]:
        return [s for s in self.official_counts if (self.root() / s).is_dir()]

    def root(self) -> Path:
        """The data folder, or the folder that the official archive makes inside it."""
        inner = self.data / "rendered-sst2"
        return inner if inner.is_dir() else self.data

    def read(self, data: Path, split: str) -> Iterator[Sample]:
        folder = self.root() / split
        rationales = read_rationales(folder)
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and entry.name not in LABELS and not entry.name.startswith("."):
                raise DataError(f"{entry}: not a label of Rendered SST-2 (negative, positive)")
        seen: set[str] = set()
        for label in LABELS:
            for path in pictures(folder / label):
                file = f"{label}/{path.name}"
                seen.add(file)
                yield Sample(
                    id=file,
                    images=(image_ref(data, path.relative_to(data).as_posix()),),
                    fields=rationale_field(rationales, file),
                    target=f" {label}",
                    answer=f" {label}",
                    label=label,
                )
        if lost := sorted(rationales.keys() - seen):
            raise DataError(f"{folder}: a rationale is for {lost[0][:60]!r}, which is no picture here")


def pictures(folder: Path) -> list[Path]:
    """The PNG files of a label's folder in the order of their names; anything else there is an error."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected {RenderedSST2.layout}")
    found = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    for path in found:
        if path.suffix.lower() != ".png" or path.is_dir():
            raise DataError(f"{path}: not a PNG file; expected {RenderedSST2.layout}")
    if not found:
        raise DataError(f"{folder}: holds no pictures; expected {RenderedSST2.layout}")
    return found
