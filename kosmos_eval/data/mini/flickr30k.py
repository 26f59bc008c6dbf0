"""The mini Flickr30k: scenes with five captions each, as Karpathy's JSON and a folder of pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from kosmos_eval.data.mini.captions import five_captions
from kosmos_eval.data.mini.drawing import draw_scene
from kosmos_eval.data.mini.files import Layout
from kosmos_eval.data.mini.scenes import SceneObject, describe, random_scene
from kosmos_eval.data.mini.seeding import COUNTS, EVAL, TRAIN, draw, item_rng

TASK = "flickr30k"
FOLDERS = {TRAIN: "train", EVAL: "test"}
_CAPTIONS = 5


@dataclass(frozen=True, slots=True)
class Item:
    """A scene and what five people wrote of it."""

    image: Image.Image
    captions: list[str]
    rationale: str
    background: str
    objects: tuple[SceneObject, ...]
    content: str


def sample(split: str, index: int) -> Item:
    """Item `index` of `train` (unbounded) or `eval`, without touching the disk."""
    scene = draw(TASK, split, index, random_scene, lambda made: made.content)
    captions = five_captions(item_rng(TASK, split, index, "captions"), scene)
    return Item(
        draw_scene(scene), captions, describe(scene.objects), scene.background, scene.objects, scene.content
    )


def write(layout: Layout, counts: Mapping[str, int] = COUNTS) -> dict[str, int]:
    """The JSON and the pictures; returns how many pictures each split holds."""
    records: list[dict[str, Any]] = []
    rationales: dict[str, str] = {}
    for split, name in FOLDERS.items():
        for index in range(counts[split]):
            item = sample(split, index)
            record = _record(item, len(records), name)
            layout.image(f"flickr30k-images/{record['filename']}", item.image)
            rationales[record["filename"]] = item.rationale
            records.append(record)
    layout.json("dataset_flickr30k.json", {"images": records, "dataset": "flickr30k"})
    layout.json("rationales.json", rationales)
    return {FOLDERS[split]: count for split, count in counts.items()}


def _record(item: Item, imgid: int, split: str) -> dict[str, Any]:
    """One entry of Karpathy's list. File names are ten digits, as the official ones."""
    sentids = [imgid * _CAPTIONS + number for number in range(_CAPTIONS)]
    sentences = [
        {"tokens": re.findall(r"[a-z0-9]+", caption.lower()), "raw": caption, "imgid": imgid, "sentid": sentid}
        for caption, sentid in zip(item.captions, sentids, strict=True)
    ]
    filename = f"{1_000_000_000 + imgid}.jpg"
    return {"sentids": sentids, "imgid": imgid, "sentences": sentences, "split": split, "filename": filename}
