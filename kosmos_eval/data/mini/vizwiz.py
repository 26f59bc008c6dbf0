"""The mini VizWiz: scenes badly photographed and asked about by someone who cannot see them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from kosmos_eval.data.mini.annotators import ten_answers
from kosmos_eval.data.mini.degrade import Photo, readable_photo, unreadable_photo
from kosmos_eval.data.mini.files import Layout
from kosmos_eval.data.mini.questions import NUMBER, OTHER, YES_NO, Question
from kosmos_eval.data.mini.scenes import COLOURS, SHAPES, SceneObject, article, join_words, random_scene
from kosmos_eval.data.mini.seeding import COUNTS, EVAL, TRAIN, balanced, draw, item_rng

TASK = "vizwiz"
FOLDERS = {TRAIN: "train", EVAL: "val"}
UNANSWERABLE = "unanswerable"
_GUESSES = ("unsuitable", "unsuitable image", "i don't know", "black", "white", "nothing", "blurry")
_OPENERS = ("", "", "", "Hi, ", "Hello, ", "Please tell me, ", "Can you help me? ", "Excuse me, ")
_CLOSERS = ("", "", "", " Thank you.", " Thanks.", " Please.")
_QUESTIONS: dict[str, tuple[str, ...]] = {
    "colour": ("what color is this?", "what color is this thing?", "what is the color of this object?"),
    "shape": ("what shape is this?", "what is the shape of this?", "what kind of shape do I have here?"),
    "thing": ("what is this?", "what is in this picture?", "what do you see here?"),
    "count": ("how many things are there?", "how many shapes are in the picture?", "how many objects do you see?"),
    "is colour": ("is this {colour}?", "is there something {colour} here?"),
    "is shape": ("is this {article_shape}?", "is there {article_shape} here?"),
}


@dataclass(frozen=True, slots=True)
class Item:
    """A question on a bad picture; `objects` stand where they are in that picture; an unreadable one has none."""

    file: str
    image: Image.Image
    question: str
    answer: str
    answers: list[tuple[str, str]]
    answer_type: str
    answerable: bool
    rationale: str
    flaw: str
    objects: tuple[SceneObject, ...]
    content: str


def sample(split: str, index: int) -> Item:
    """Item `index` of `train` (unbounded) or `eval`: two in five cannot be read."""
    answerable = balanced(TASK, split, index, [True, True, True, False, False] * 2)
    scene = draw(TASK, split, index, lambda rng: random_scene(rng, 1, 3), lambda made: made.content)
    rng = item_rng(TASK, split, index, "photo")
    photo = readable_photo(rng, scene) if answerable else unreadable_photo(rng, scene)
    question = _ask(rng, photo.objects or scene.objects)
    if answerable:
        answer, answer_type = question.answer, question.answer_type
        answers = ten_answers(rng, answer, (*question.mistakes, UNANSWERABLE))
    else:
        answer = answer_type = UNANSWERABLE
        answers = ten_answers(rng, UNANSWERABLE, _GUESSES)
    return Item(
        file=f"VizWiz_{FOLDERS[split]}_{index:08d}.jpg",
        image=photo.image,
        question=question.text,
        answer=answer,
        answers=answers,
        answer_type=answer_type,
        answerable=answerable,
        rationale=_account(photo),
        flaw=photo.flaw,
        objects=photo.objects,
        content=scene.content,
    )


def _ask(rng: random.Random, objects: tuple[SceneObject, ...]) -> Question:
    """A spoken question. With several objects only such as have one answer."""
    kind = rng.choice(list(_QUESTIONS) if len(objects) == 1 else ["count", "is colour", "is shape"])
    there = rng.choice(objects)
    colour = there.colour if rng.random() < 0.5 else rng.choice(list(COLOURS))
    shape = there.shape if rng.random() < 0.5 else rng.choice(SHAPES)
    text = rng.choice(_QUESTIONS[kind]).format(colour=colour, article_shape=article(shape))
    if len(objects) > 1:
        text = text.replace("is this", "is there something" if kind == "is colour" else "is there")
    text = rng.choice(_OPENERS) + text + rng.choice(_CLOSERS)
    answers = {
        "colour": (there.colour, OTHER),
        "shape": (there.shape, OTHER),
        "thing": (there.name, OTHER),
        "count": (str(len(objects)), NUMBER),
        "is colour": (_yes(any(o.colour == colour for o in objects)), YES_NO),
        "is shape": (_yes(any(o.shape == shape for o in objects)), YES_NO),
    }
    return Question(text[0].upper() + text[1:], *answers[kind], question_type=kind)


def _yes(true: bool) -> str:
    return "yes" if true else "no"


def _account(photo: Photo) -> str:
    """What someone who sees the picture would say of it first."""
    if not photo.objects:
        return f"the picture is {photo.flaw}, nothing in it can be told."
    things = join_words([article(f"{o.colour} {o.shape}") for o in photo.objects])
    return f"there is {things}." if photo.flaw == "none" else f"the picture is {photo.flaw}. there is {things}."


def write(layout: Layout, counts: Mapping[str, int] = COUNTS) -> dict[str, int]:
    """Both lists and picture folders; returns how many items each split holds."""
    rationales: dict[str, str] = {}
    for split, name in FOLDERS.items():
        records = []
        for index in range(counts[split]):
            item = sample(split, index)
            layout.image(f"{name}/{item.file}", item.image)
            rationales[item.file] = item.rationale
            records.append(_record(item))
        layout.json(f"{name}.json", records)
    layout.json("rationales.json", rationales)
    return {FOLDERS[split]: count for split, count in counts.items()}


def _record(item: Item) -> dict[str, Any]:
    """One entry of the official list."""
    return {
        "image": item.file,
        "question": item.question,
        "answers": [{"answer": answer, "answer_confidence": confidence} for answer, confidence in item.answers],
        "answer_type": item.answer_type,
        "answerable": int(item.answerable),
    }
