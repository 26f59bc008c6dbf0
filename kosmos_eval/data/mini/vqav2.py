"""The mini VQAv2: scenes and two questions on each, as the official pair of JSON files and COCO-named pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from kosmos_eval.data.mini.annotators import ten_answers
from kosmos_eval.data.mini.drawing import draw_scene
from kosmos_eval.data.mini.files import Layout
from kosmos_eval.data.mini.questions import Question, random_questions
from kosmos_eval.data.mini.scenes import Scene, SceneObject, describe, random_scene
from kosmos_eval.data.mini.seeding import COUNTS, EVAL, TRAIN, draw, item_rng

TASK = "vqav2"
FOLDERS = {TRAIN: "train2014", EVAL: "val2014"}
QUESTIONS_PER_IMAGE = 2
_FIRST_IMAGE = {TRAIN: 500_000, EVAL: 1}
_LICENSE = {"url": "https://www.apache.org/licenses/LICENSE-2.0", "name": "Apache License 2.0"}


@dataclass(frozen=True, slots=True)
class Item:
    """One question on one scene. Items 2k and 2k+1 are asked of the same picture."""

    question_id: int
    image_id: int
    image: Image.Image
    question: str
    answer: str
    answers: list[tuple[str, str]]
    answer_type: str
    question_type: str
    rationale: str
    background: str
    objects: tuple[SceneObject, ...]
    content: str


def scene_of(split: str, picture: int) -> Scene:
    """The scene of one picture."""
    return draw(TASK, split, picture, random_scene, lambda scene: scene.content)


def sample(split: str, index: int) -> Item:
    """Question `index` of `train` (unbounded) or `eval`, without touching the disk."""
    picture, place = divmod(index, QUESTIONS_PER_IMAGE)
    scene = scene_of(split, picture)
    questions = random_questions(item_rng(TASK, split, picture, "questions"), scene, QUESTIONS_PER_IMAGE)
    return _item(split, index, scene, questions[place])


def _item(split: str, index: int, scene: Scene, question: Question) -> Item:
    picture, place = divmod(index, QUESTIONS_PER_IMAGE)
    image_id = _FIRST_IMAGE[split] + picture
    return Item(
        question_id=image_id * 1000 + place,
        image_id=image_id,
        image=draw_scene(scene),
        question=question.text,
        answer=question.answer,
        answers=ten_answers(item_rng(TASK, split, index, "annotators"), question.answer, question.mistakes),
        answer_type=question.answer_type,
        question_type=question.question_type,
        rationale=describe(scene.objects),
        background=scene.background,
        objects=scene.objects,
        content=scene.content,
    )


def write(layout: Layout, counts: Mapping[str, int] = COUNTS) -> dict[str, int]:
    """Questions, annotations and pictures of both splits; returns how many questions each holds."""
    rationales: dict[str, str] = {}
    for split, name in FOLDERS.items():
        items = [sample(split, index) for index in range(counts[split])]
        for item in items[::QUESTIONS_PER_IMAGE]:
            layout.image(f"{name}/COCO_{name}_{item.image_id:012d}.jpg", item.image)
        layout.json(f"v2_OpenEnded_mscoco_{name}_questions.json", _questions_file(name, items))
        layout.json(f"v2_mscoco_{name}_annotations.json", _annotations_file(name, items))
        rationales |= {str(item.question_id): item.rationale for item in items}
    layout.json("rationales.json", rationales)
    return {FOLDERS[split]: count for split, count in counts.items()}


def _header(name: str) -> dict[str, Any]:
    info = {"description": "kosmos-eval mini suite", "version": "1.0", "year": 2025, "contributor": "kosmos-eval"}
    return {"info": info, "license": _LICENSE, "data_type": "mscoco", "data_subtype": name}


def _questions_file(name: str, items: list[Item]) -> dict[str, Any]:
    rows = [{"image_id": item.image_id, "question": item.question, "question_id": item.question_id} for item in items]
    return {**_header(name), "task_type": "Open-Ended", "questions": rows}


def _annotations_file(name: str, items: list[Item]) -> dict[str, Any]:
    rows = []
    for item in items:
        answers = [
            {"answer": answer, "answer_confidence": confidence, "answer_id": number}
            for number, (answer, confidence) in enumerate(item.answers, start=1)
        ]
        rows.append({
            "question_type": item.question_type,
            "multiple_choice_answer": item.answer,
            "answers": answers,
            "image_id": item.image_id,
            "answer_type": item.answer_type,
            "question_id": item.question_id,
        })
    return {**_header(name), "annotations": rows}
