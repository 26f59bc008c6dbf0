"""Captioned images: Karpathy's JSON, Flickr30k's token file with split lists, and COCO's official captions JSON."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from kosmos_eval.data.files import Record, by_id, checked_text, read_lines, read_object
from kosmos_eval.data.images import ref
from kosmos_eval.data.rationales import rationale_field, read_rationales
from kosmos_eval.data.readers.vqa import one_file
from kosmos_eval.errors import DataError
from kosmos_eval.prompt import Image
from kosmos_eval.task import Sample, Task

_TOKEN_LINE = re.compile(r"(?P<image>[^\t#]+)#(?P<number>\d{1,3})\t(?P<caption>.*)")


@dataclass(frozen=True, slots=True)
class Captioned:
    """An image and its reference captions; `where` is the record that names it."""

    id: str
    file: str
    captions: Sequence[str]
    where: str


class CaptionTask(Task):
    """Images with reference captions. A demonstration shows the first one."""

    results_keys = ("image_id", "caption")
    karpathy_stem: ClassVar[str]
    """Name of Karpathy's JSON without suffix."""

    @cached_property
    def karpathy(self) -> Mapping[str, list[Captioned]]:
        """Karpathy's splits; none where his file is not there."""
        path = one_file(self.data, self.karpathy_stem)
        return read_karpathy(path) if path else {}

    def available_splits(self) -> list[str]:
        return list(self.karpathy)

    def rows(self, split: str) -> Sequence[Captioned]:
        """The images of a split."""
        return self.karpathy[split]

    def image_name(self, split: str, file: str) -> str:
        """Where a picture lies, relative to the data folder."""
        return file

    def read(self, data: Path, split: str) -> Iterator[Sample]:
        rationales = read_rationales(data)
        for row in self.rows(split):
            try:
                image = ref(data, self.image_name(split, row.file))
            except DataError as error:
                raise DataError(f"{row.where}: {error}") from None
            yield self.sample(row, image, rationale_field(rationales, row.id))

    def sample(self, row: Captioned, image: Image, more: Mapping[str, Any]) -> Sample:
        """A sample from an image and its captions."""
        first = next((c for c in row.captions if c.strip()), None)
        if first is None:
            raise DataError(f"{row.where}: image {row.id!r} has no caption that is not blank")
        caption = " ".join(first.split())
        return Sample(row.id, (image,), {"caption": caption, **more}, list(row.captions), f" {caption}")


def read_karpathy(path: Path) -> dict[str, list[Captioned]]:
    """Karpathy's JSON (https://cs.stanford.edu/people/karpathy/deepimagesent/) by split.

    An image's id is its COCO id if it has one (`cocoid`), else its file name.
    """
    splits: dict[str, list[Captioned]] = defaultdict(list)
    seen: dict[str, str] = {}
    for record in read_object(path).records("images"):
        row = _karpathy_row(record)
        if row.id in seen:
            raise record.error(f"image {row.id!r} is also that of {seen[row.id]}")
        seen[row.id] = record.place
        splits[record.text("split")].append(row)
    return dict(splits)


def _karpathy_row(record: Record) -> Captioned:
    name = record.text("filename")
    file = f"{record.text('filepath')}/{name}" if record.has("filepath") else name
    identifier = record.identifier("cocoid") if record.has("cocoid") else name
    captions = [sentence.text("raw", blank=True) for sentence in record.records("sentences")]
    return Captioned(identifier, file, captions, record.where)


def read_token_file(path: Path) -> dict[str, list[str]]:
    """Flickr30k's `results_20130124.token` (`1000092795.jpg#0<tab>caption`): captions by image, in their order."""
    numbered: dict[str, dict[int, str]] = defaultdict(dict)
    for number, line in read_lines(path):
        where = f"{path}: line {number}"
        match = _TOKEN_LINE.fullmatch(line)
        if match is None:
            raise DataError(f"{where}: expected 'name.jpg#0<tab>caption', found {line[:60]!r}")
        captions = numbered[match["image"]]
        place = int(match["number"])
        if place in captions:
            raise DataError(f"{where}: caption {place} of {match['image']} was there before")
        captions[place] = checked_text(match["caption"], where, blank=True)
    if not numbered:
        raise DataError(f"{path}: is empty")
    return {image: [captions[k] for k in sorted(captions)] for image, captions in numbered.items()}


def read_split_list(path: Path, captions: Mapping[str, list[str]], source: Path) -> list[Captioned]:
    """The images of a split: one file name a line, with or without `.jpg`."""
    rows: dict[str, Captioned] = {}
    for number, line in read_lines(path):
        name = line.strip()
        name = name if name.endswith(".jpg") else f"{name}.jpg"
        where = f"{path}: line {number}"
        if name in rows:
            raise DataError(f"{where}: image {name[:100]!r} was there before")
        if name not in captions:
            raise DataError(f"{where}: image {name[:100]!r} has no captions in {source}")
        rows[name] = Captioned(name, name, captions[name], where)
    if not rows:
        raise DataError(f"{path}: is empty")
    return list(rows.values())


def read_coco(path: Path) -> list[Captioned]:
    """COCO's official `captions_{split}.json`: images in the file's order, captions in that of the annotations."""
    top = read_object(path)
    images = by_id(top.records("images"), "id")
    captions: dict[str, list[str]] = defaultdict(list)
    seen: set[str] = set()
    for annotation in top.records("annotations"):
        image, identifier = annotation.identifier("image_id"), annotation.identifier("id")
        if image not in images:
            raise annotation.error(f"image_id {image} is no image of the file")
        if identifier in seen:
            raise annotation.error(f"annotation id {identifier} was there before")
        seen.add(identifier)
        captions[image].append(annotation.text("caption", blank=True))
    for image, record in images.items():
        if image not in captions:
            raise record.error(f"image {image} has no caption")
    return [Captioned(i, record.text("file_name"), captions[i], record.where) for i, record in images.items()]
