"""Small benchmarks in the official layouts, made by us: nothing of the real data is in the tests.

Each builder fills a folder and returns it; `LAYOUTS` lists them with what the reader tests need to know.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ANSWERS = ["red"] * 7 + ["dark red", "crimson", "red"]
TRAIN, EVAL = 6, 4


def picture(path: Path, seed: int, size: tuple[int, int] = (12, 10)) -> None:
    """A picture that differs with the seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_jsonl(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def rendered_sst2(folder: Path) -> Path:
    for split, count in (("train", TRAIN), ("test", EVAL)):
        rows = []
        for k in range(count):
            file = f"{('negative', 'positive')[k % 2]}/{k:04d}.png"
            picture(folder / split / file, k)
            rows.append({"file": file, "rationale": f"opinion {k}"})
        write_jsonl(folder / split / "rationales.jsonl", rows)
    return folder


def hateful_memes(folder: Path) -> Path:
    for split, first, count in (("train", 100, TRAIN), ("dev_seen", 10, EVAL)):
        rows = []
        for k in range(first, first + count):
            picture(folder / f"img/{k:05d}.png", k)
            rows.append({"id": k, "img": f"img/{k:05d}.png", "label": k % 2, "text": f"words {k}"})
        write_jsonl(folder / f"{split}.jsonl", rows)
    return folder


def vqav2(folder: Path) -> Path:
    for split, first, count in (("train2014", 100, TRAIN), ("val2014", 10, EVAL)):
        questions, annotations = [], []
        for k in range(first, first + count):
            picture(folder / split / f"COCO_{split}_{k:012d}.jpg", k)
            questions.append({"image_id": k, "question": f"what colour is thing {k}?", "question_id": k * 1000})
            annotations.append(annotation(k * 1000, k))
        write_json(folder / f"v2_OpenEnded_mscoco_{split}_questions.json", {"questions": questions})
        write_json(folder / f"v2_mscoco_{split}_annotations.json", {"annotations": annotations})
    return folder


def annotation(question_id: int, image_id: int | str, **more: Any) -> dict[str, Any]:
    answers = [{"answer": a, "answer_confidence": "yes", "answer_id": n} for n, a in enumerate(ANSWERS, start=1)]
    return {
        "question_id": question_id, "image_id": image_id, "question_type": "what", "answer_type": "other",
        "multiple_choice_answer": "red", "answers": answers, **more,
    }  # fmt: skip


def vizwiz(folder: Path) -> Path:
    for split, count in (("train", TRAIN), ("val", EVAL)):
        rows = []
        for k in range(count):
            image = f"VizWiz_{split}_{k:08d}.jpg"
            picture(folder / split / image, k)
            answers = [{"answer": a, "answer_confidence": "maybe"} for a in ANSWERS]
            rows.append({
                "image": image, "question": f"what is  {k}? ", "answers": answers,
                "answer_type": "other", "answerable": 1,
            })  # fmt: skip
        write_json(folder / f"{split}.json", rows)
    return folder


def vizwiz_pairs(folder: Path) -> Path:
    """open_flamingo's files: no answer_id, and the answer type under `question_type`."""
    for split, count in (("train", TRAIN), ("val", EVAL)):
        questions, annotations = [], []
        for k in range(count):
            image = f"VizWiz_{split}_{k:08d}.jpg"
            picture(folder / split / image, k)
            questions.append({"question": f"what is {k}?", "image_id": image, "question_id": k})
            row = annotation(k, image, question_type="other")
            del row["answer_type"]
            annotations.append(row)
        write_json(folder / f"{split}_questions_vqa_format.json", {"questions": questions})
        write_json(folder / f"{split}_annotations_vqa_format.json", {"annotations": annotations})
    return folder


def _splits() -> list[str]:
    return ["train"] * TRAIN + ["test"] * EVAL


def flickr30k(folder: Path) -> Path:
    images = []
    for k, split in enumerate(_splits()):
        name = f"{1000 + k}.jpg"
        picture(folder / "flickr30k-images" / name, k)
        sentences = [{"raw": f"Caption {n} of {k}.", "tokens": [], "imgid": k, "sentid": 5 * k + n} for n in range(5)]
        images.append({"filename": name, "split": split, "imgid": k, "sentids": [], "sentences": sentences})
    write_json(folder / "dataset_flickr30k.json", {"images": images, "dataset": "flickr30k"})
    return folder


def flickr30k_tokens(folder: Path) -> Path:
    lines, lists = [], {"train": [], "test": []}
    for k, split in enumerate(_splits()):
        picture(folder / "flickr30k-images" / f"{1000 + k}.jpg", k)
        lines += [f"{1000 + k}.jpg#{n}\tCaption {n} of {k} .\n" for n in range(5)]
        lists[split].append(f"{1000 + k}\n")
    (folder / "results_20130124.token").write_text("".join(lines), encoding="utf-8")
    for split, names in lists.items():
        (folder / f"{split}.txt").write_text("".join(names), encoding="utf-8")
    return folder


def coco_captions(folder: Path) -> Path:
    for split, first, count in (("train2017", 100, TRAIN), ("val2017", 10, EVAL)):
        images, annotations = [], []
        for k in range(first, first + count):
            picture(folder / split / f"{k:012d}.jpg", k)
            images.append({"id": k, "file_name": f"{k:012d}.jpg", "height": 10, "width": 12})
            annotations += [{"id": 10 * k + n, "image_id": k, "caption": f"Caption {n} of {k}."} for n in range(5)]
        write_json(folder / f"captions_{split}.json", {"images": images, "annotations": annotations})
    return folder


def coco_karpathy(folder: Path) -> Path:
    images = []
    for k, split in enumerate(_splits()):
        name = f"COCO_val2014_{k:012d}.jpg"
        picture(folder / "val2014" / name, k)
        sentences = [{"raw": f"Caption {n} of {k}."} for n in range(5)]
        images.append({
            "filepath": "val2014", "filename": name, "cocoid": k, "split": split, "imgid": k, "sentences": sentences,
        })  # fmt: skip
    write_json(folder / "dataset_coco.json", {"images": images, "dataset": "coco"})
    return folder


def raven_iq50(folder: Path) -> Path:
    for split, count in (("train", TRAIN), ("test", EVAL)):
        labels = {}
        for k in range(1, count + 1):
            for n in (1, 2, 3):
                picture(folder / split / f"exp-{k}/query-{n}.png", 100 * k + n)
            for n, letter in enumerate("abcdef"):
                picture(folder / split / f"exp-{k}/answer-{letter}.png", 100 * k + 50 + n)
            labels[f"exp-{k}"] = "abcdef"[k % 6]
        write_json(folder / split / "labels.json", labels)
    return folder


def puzzle_arrays(k: int) -> dict[str, Any]:
    rng = np.random.default_rng(k)
    return {"image": rng.integers(0, 256, (16, 20, 20), dtype=np.uint8), "target": np.int64(k % 8)}


def raven_npz(folder: Path) -> Path:
    for k, split in enumerate(_splits()):
        path = folder / "center_single" / f"RAVEN_{k}_{split}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **puzzle_arrays(k))
    return folder


def raven_index(folder: Path) -> Path:
    """The puzzles of `raven_npz` as pictures."""
    rows = []
    for k, split in enumerate(_splits()):
        arrays = puzzle_arrays(k)
        name = f"center_single/RAVEN_{k}_{split}"
        files = [f"png/{name}/{n}.png" for n in range(16)]
        (folder / f"png/{name}").mkdir(parents=True, exist_ok=True)
        for n, file in enumerate(files):
            Image.fromarray(arrays["image"][n]).save(folder / file)
        rows.append({"id": name, "split": split, "context": files[:8], "candidates": files[8:], "target": k % 8})
    write_jsonl(folder / "index.jsonl", rows)
    return folder


@dataclass(frozen=True)
class Layout:
    """A benchmark in one of its layouts, and how its main record file is made up."""

    task: str
    build: Callable[[Path], Path]
    split: str
    file: str | None = None
    """The JSON or JSONL file of the evaluated split."""
    rows: str | None = None
    """The key of its list of records; None for a list or JSONL."""
    fields: tuple[str, ...] = ()
    """Fields each record must have."""
    images_per_sample: int = 1

    @property
    def name(self) -> str:
        return self.build.__name__


LAYOUTS = [
    Layout("rendered_sst2", rendered_sst2, "test"),
    Layout("hateful_memes", hateful_memes, "dev_seen", "dev_seen.jsonl", None, ("id", "img", "label", "text")),
    Layout("vqav2", vqav2, "val2014", "v2_OpenEnded_mscoco_val2014_questions.json", "questions",
           ("question_id", "image_id", "question")),
    Layout("vizwiz", vizwiz, "val", "val.json", None, ("image", "question", "answers")),
    Layout("vizwiz", vizwiz_pairs, "val", "val_questions_vqa_format.json", "questions",
           ("question_id", "image_id", "question")),
    Layout("flickr30k", flickr30k, "test", "dataset_flickr30k.json", "images", ("filename", "split", "sentences")),
    Layout("flickr30k", flickr30k_tokens, "test"),
    Layout("coco_captions", coco_captions, "val2017", "captions_val2017.json", "images", ("id", "file_name")),
    Layout("coco_captions", coco_karpathy, "test", "dataset_coco.json", "images",
           ("filename", "split", "sentences")),
    Layout("raven_iq", raven_iq50, "test", images_per_sample=3),
    Layout("raven_iq", raven_npz, "test", images_per_sample=8),
    Layout("raven_iq", raven_index, "test", "index.jsonl", None, ("id", "split", "context", "candidates", "target"), 8),
]  # fmt: skip
"""Every layout that is read, by the name of its builder."""

OTHER_FILES = [
    Layout("vqav2", vqav2, "val2014", "v2_mscoco_val2014_annotations.json", "annotations", ("question_id", "answers")),
    Layout("vizwiz", vizwiz_pairs, "val", "val_annotations_vqa_format.json", "annotations", ("question_id", "answers")),
    Layout("coco_captions", coco_captions, "val2017", "captions_val2017.json", "annotations",
           ("id", "image_id", "caption")),
    Layout("rendered_sst2", rendered_sst2, "test", "test/rationales.jsonl", None, ("file", "rationale")),
]  # fmt: skip
"""The second record files of layouts that have two."""
