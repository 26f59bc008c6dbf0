"""Questions about a scene, with the answer the scene gives and the wrong ones a careless person would."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kosmos_eval.data.mini.scenes import COLOURS, SHAPES, Scene, SceneObject, plural

YES_NO, NUMBER, OTHER = "yes/no", "number", "other"
_MIXED_UP = {
    "red": "orange", "orange": "red", "yellow": "orange", "green": "blue", "blue": "purple", "purple": "pink",
    "pink": "purple", "brown": "black", "black": "brown", "gray": "black", "circle": "ring", "square": "diamond",
    "triangle": "diamond", "star": "cross", "diamond": "square", "cross": "star", "ring": "circle", "heart": "triangle",
    "yes": "no", "no": "yes", "left": "center", "right": "center", "top": "center", "bottom": "center", "center": "top",
    "top left": "left", "top right": "right", "bottom left": "left", "bottom right": "right",
}


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its answer, its official answer type, and the official question type (its first words).

    `about` is the object that one has to look at last, where there is one.
    """

    text: str
    answer: str
    answer_type: str
    question_type: str
    about: SceneObject | None = field(default=None, compare=False, repr=False)

    @property
    def mistakes(self) -> tuple[str, ...]:
        """What a careless annotator might say instead."""
        if self.answer_type == NUMBER:
            return tuple(str(n) for n in (int(self.answer) - 1, int(self.answer) + 1) if n >= 0)
        return (_MIXED_UP.get(self.answer, "unknown"),)


def unique_names(scene: Scene) -> list[tuple[SceneObject, str]]:
    """Each object that some short name singles out, with that name: `star`, `red star`, or `large red star`."""
    named: list[tuple[SceneObject, str]] = []
    for thing in scene.objects:
        if sum(o.shape == thing.shape for o in scene.objects) == 1:
            named.append((thing, thing.shape))
        elif sum(o.name == thing.name for o in scene.objects) == 1:
            named.append((thing, thing.name))
        else:
            named.append((thing, f"{thing.size} {thing.name}"))
    return named


def colour_questions(scene: Scene) -> Iterator[Question]:
    for thing in scene.objects:
        if sum(o.shape == thing.shape for o in scene.objects) == 1:
            yield Question(f"What color is the {thing.shape}?", thing.colour, OTHER, "what color is the", thing)
    for name, others, where in neighbours(scene):
        if len(others) == 1:
            text = f"What color is the object {where} the {name}?"
            yield Question(text, others[0].colour, OTHER, "what color is the", others[0])


def shape_questions(scene: Scene) -> Iterator[Question]:
    for thing in scene.objects:
        if sum(o.colour == thing.colour for o in scene.objects) == 1:
            yield Question(f"What shape is the {thing.colour} object?", thing.shape, OTHER, "what", thing)
        if sum(o.size == thing.size for o in scene.objects) == 1:
            yield Question(f"What shape is the {thing.size} object?", thing.shape, OTHER, "what", thing)
    for name, others, where in neighbours(scene):
        if len(others) == 1:
            yield Question(f"What shape is {where} the {name}?", others[0].shape, OTHER, "what", others[0])


def neighbours(scene: Scene) -> Iterator[tuple[str, list[SceneObject], str]]:
    """For each named object, what is left of, right of, above and below it."""
    for thing, name in unique_names(scene):
        yield name, [o for o in scene.objects if o.column < thing.column], "to the left of"
        yield name, [o for o in scene.objects if o.column > thing.column], "to the right of"
        yield name, [o for o in scene.objects if o.row < thing.row], "above"
        yield name, [o for o in scene.objects if o.row > thing.row], "below"


def count_questions(scene: Scene) -> Iterator[Question]:
    shapes, colours = Counter(o.shape for o in scene.objects), Counter(o.colour for o in scene.objects)
    counts = [(plural(s), n) for s, n in shapes.items()] + [(f"{c} objects", n) for c, n in colours.items()]
    counts += [("objects", len(scene.objects))] * 2
    counts += [(plural(s), 0) for s in SHAPES if s not in shapes]
    for what, number in counts:
        yield Question(f"How many {what} are there?", str(number), NUMBER, "how many")


def position_questions(scene: Scene) -> Iterator[Question]:
    for thing, name in unique_names(scene):
        yield Question(f"Where is the {name}?", thing.position, OTHER, "where is the", thing)


def comparison_questions(scene: Scene) -> Iterator[Question]:
    """Which of two is larger, more to the left, or higher."""
    named = unique_names(scene)
    for a, a_name in named:
        for b, b_name in named:
            if a is b or a_name == b_name:
                continue
            pair = f"the {a_name} or the {b_name}"
            if a.size != b.size:
                yield _which(f"Which is larger, {pair}?", *((a_name, a) if a.size == "large" else (b_name, b)))
            if a.column != b.column:
                first = (a_name, a) if a.column < b.column else (b_name, b)
                yield _which(f"Which is more to the left, {pair}?", *first)
            if a.row != b.row:
                yield _which(f"Which is higher, {pair}?", *((a_name, a) if a.row < b.row else (b_name, b)))


def _which(text: str, answer: str, about: SceneObject) -> Question:
    return Question(text, answer, OTHER, "which", about)


def presence_questions(scene: Scene) -> Iterator[Question]:
    """Is it there."""
    names = {o.name for o in scene.objects}
    shapes = sorted({o.shape for o in scene.objects})
    for colour in sorted({o.colour for o in scene.objects}):
        for shape in shapes:
            yield _whether(f"Is there a {colour} {shape}?", f"{colour} {shape}" in names, "is there a")
    for shape in SHAPES:
        yield _whether(f"Is there a {shape}?", shape in shapes, "is there a")


def attribute_questions(scene: Scene) -> Iterator[Question]:
    """Is it so."""
    for thing, name in unique_names(scene):
        if name == thing.shape:
            for colour in COLOURS:
                yield _whether(f"Is the {name} {colour}?", colour == thing.colour, "is the", thing)


def relation_questions(scene: Scene) -> Iterator[Question]:
    """Is it larger than, or to the left of, the other."""
    named = unique_names(scene)
    for a, a_name in named:
        for b, b_name in named:
            if a_name != b_name and a.size != b.size:
                yield _whether(f"Is the {a_name} larger than the {b_name}?", a.size == "large", "is the")
            if a_name != b_name and a.column != b.column:
                yield _whether(f"Is the {a_name} to the left of the {b_name}?", a.column < b.column, "is the")


def majority_questions(scene: Scene) -> Iterator[Question]:
    """Are there more of these than of those."""
    tally = Counter(o.shape for o in scene.objects)
    for one in tally:
        for other in tally:
            if tally[one] != tally[other]:
                text = f"Are there more {plural(one)} than {plural(other)}?"
                yield _whether(text, tally[one] > tally[other], "are there")


def _whether(text: str, true: bool, question_type: str, about: SceneObject | None = None) -> Question:
    return Question(text, "yes" if true else "no", YES_NO, question_type, about)


FAMILIES: dict[str, tuple[Callable[[Scene], Iterator[Question]], int]] = {
    "colour": (colour_questions, 22),
    "shape": (shape_questions, 16),
    "count": (count_questions, 18),
    "position": (position_questions, 12),
    "comparison": (comparison_questions, 8),
    "presence": (presence_questions, 8),
    "attribute": (attribute_questions, 8),
    "relation": (relation_questions, 8),
    "majority": (majority_questions, 4),
}


def random_questions(rng: random.Random, scene: Scene, count: int) -> list[Question]:
    """Different questions about one scene, of different families as far as the scene gives them.

    The answer is drawn before the question, so that within a family no answer is common only because scenes make it so.
    """
    asked: list[Question] = []
    families = list(FAMILIES)
    while len(asked) < count:
        (family,) = rng.choices(families, [FAMILIES[name][1] for name in families])
        found = [q for q in FAMILIES[family][0](scene) if q.text not in {a.text for a in asked}]
        if len(families) > 1:
            families.remove(family)
        if found:
            answer = rng.choice(sorted({q.answer for q in found}))
            asked.append(rng.choice([q for q in found if q.answer == answer]))
        elif len(families) == 1:
            families = list(FAMILIES)
    return asked
