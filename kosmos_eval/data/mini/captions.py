"""Captions of a scene, put together from interchangeable openings, accounts and endings."""

from __future__ import annotations

import random
from collections import Counter

from kosmos_eval.data.mini.scenes import Scene, SceneObject, article, join_words, place_phrase, plural

OPENINGS = (
    "There is {x}{end}.", "A picture of {x}{end}.", "An image of {x}{end}.", "{x}{end}.",
    "This picture shows {x}{end}.",
    "We can see {x}{end}.", "A drawing of {x}{end}.", "The image shows {x}{end}.", "You can see {x}{end}.",
    "Someone drew {x}{end}.", "A simple scene with {x}{end}.", "In this picture there is {x}{end}.",
)
ENDINGS = ("", "", " on a {ground} background", " on {ground}", " against a {ground} background")
ACCOUNTS = 7
TEMPLATE_COUNT = len(OPENINGS) * ACCOUNTS * len(set(ENDINGS))
_NUMBERS = ("no", "one", "two", "three", "four", "five")


def _each(scene: Scene, with_size: bool) -> str:
    """Everything, in reading order."""
    return join_words([article(f"{o.size} {o.name}" if with_size else o.name) for o in scene.objects])


def _placed(scene: Scene) -> str:
    """Everything, with its place."""
    return join_words([f"{article(o.name)} {place_phrase(o)}" for o in scene.objects])


def _grouped(scene: Scene) -> str:
    """Shapes with their numbers, the most frequent first."""
    tally = Counter(o.shape for o in scene.objects)
    parts = [article(s) if n == 1 else f"{_NUMBERS[n]} {plural(s)}" for s, n in tally.most_common()]
    return join_words(parts)


def _counted(scene: Scene) -> str:
    """How many there are, then what they are."""
    number = len(scene.objects)
    if number == 1:
        return f"one {scene.objects[0].name}"
    return f"{_NUMBERS[number]} shapes, {_each(scene, False)}"


def _related(rng: random.Random, scene: Scene) -> str:
    """Two of the objects, by where one is from the other; with one object, where that is."""
    if len(scene.objects) == 1:
        return f"{article(scene.objects[0].name)} {place_phrase(scene.objects[0])}"
    a, b = rng.sample(scene.objects, 2)
    return f"{article(a.name)} {relation(a, b)} {article(b.name)}"


def relation(a: SceneObject, b: SceneObject) -> str:
    """Where a is from b."""
    if a.row != b.row:
        return "above" if a.row < b.row else "below"
    return "to the left of" if a.column < b.column else "to the right of"


def _sized(scene: Scene) -> str:
    """The large ones first."""
    ordered = sorted(scene.objects, key=lambda o: o.size != "large")
    return join_words([article(f"{o.size} {o.name}") for o in ordered])


def random_caption(rng: random.Random, scene: Scene) -> str:
    """One caption as a person might write it."""
    account = (
        lambda: _each(scene, False),
        lambda: _each(scene, True),
        lambda: _placed(scene),
        lambda: _grouped(scene),
        lambda: _counted(scene),
        lambda: _related(rng, scene),
        lambda: _sized(scene),
    )[rng.randrange(ACCOUNTS)]()
    ending = rng.choice(ENDINGS).format(ground=scene.background)
    text = rng.choice(OPENINGS).format(x=account, end=ending)
    return text[0].upper() + text[1:]


def five_captions(rng: random.Random, scene: Scene) -> list[str]:
    """Five different captions."""
    captions: list[str] = []
    while len(captions) < 5:
        caption = random_caption(rng, scene)
        if caption not in captions:
            captions.append(caption)
    return captions
