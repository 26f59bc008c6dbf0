"""The scenes of the mini suite: one to five coloured shapes on a pale ground, and how they are put into words."""

from __future__ import annotations

import random
from dataclasses import dataclass

SCENE_SIZE = 224
SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross", "ring", "heart")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 32, 32),
    "orange": (255, 140, 0),
    "yellow": (240, 214, 0),
    "green": (28, 150, 52),
    "blue": (32, 72, 224),
    "purple": (128, 36, 168),
    "pink": (255, 110, 190),
    "brown": (124, 72, 28),
    "black": (12, 12, 12),
    "gray": (128, 128, 128),
}
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "cream": (255, 248, 224),
    "pale blue": (222, 236, 252),
    "pale green": (226, 246, 226),
}
SIZES = {"small": (13, 16), "large": (26, 29)}
POSITIONS = ("top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right")
_CELL = SCENE_SIZE / 3
_THEME_SHARE, _THEME_STRENGTH = 0.4, 0.7


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One shape of a scene; centre and radius are in pixels of the picture it is drawn in."""

    shape: str
    colour: str
    size: str
    cx: float
    cy: float
    radius: float

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def column(self) -> int:
        return min(2, max(0, int(self.cx / _CELL)))

    @property
    def row(self) -> int:
        return min(2, max(0, int(self.cy / _CELL)))

    @property
    def position(self) -> str:
        """Where it is, in one of nine answers: `top left`, `top`, ..., `center`, ..., `bottom right`."""
        return POSITIONS[3 * self.row + self.column]


@dataclass(frozen=True, slots=True)
class Scene:
    """A ground and its objects in reading order."""

    background: str
    objects: tuple[SceneObject, ...]

    @property
    def content(self) -> str:
        """What the train/eval wall looks at: two scenes that look alike up to a nudge of a few pixels are one."""
        cells = sorted(f"{o.size} {o.name}@{o.column}{o.row}" for o in self.objects)
        return "|".join(cells)


def random_scene(rng: random.Random, least: int = 1, most: int = 5) -> Scene:
    """Objects in different cells of a 3x3 grid, so that no two overlap and every position has one name.

    Some scenes have a theme (a shape or colour most objects share), or counting would nearly always answer one.
    """
    count = rng.randint(least, most)
    themed = rng.random() < _THEME_SHARE
    theme_shape = rng.choice(SHAPES) if themed and rng.random() < 0.5 else None
    theme_colour = rng.choice(list(COLOURS)) if themed and theme_shape is None else None
    cells = sorted(rng.sample(range(9), count))
    objects: list[SceneObject] = []
    for cell in cells:
        taken = {(o.size, o.name) for o in objects}
        while True:
            made = _random_object(rng, cell, theme_shape, theme_colour)
            if (made.size, made.name) not in taken:
                break
        objects.append(made)
    return Scene(rng.choice(list(BACKGROUNDS)), tuple(objects))


def _random_object(rng: random.Random, cell: int, shape: str | None, colour: str | None) -> SceneObject:
    """An object somewhere in its cell, wholly inside it; follows the theme more often than not."""
    if shape is None or rng.random() > _THEME_STRENGTH:
        shape = rng.choice(SHAPES)
    if colour is None or rng.random() > _THEME_STRENGTH:
        colour = rng.choice(list(COLOURS))
    size = rng.choice(list(SIZES))
    radius = rng.randint(*SIZES[size])
    play = int(_CELL / 2 - radius - 3)
    row, column = divmod(cell, 3)
    cx = round((column + 0.5) * _CELL) + rng.randint(-play, play)
    cy = round((row + 0.5) * _CELL) + rng.randint(-play, play)
    return SceneObject(shape, colour, size, cx, cy, radius)


def article(words: str) -> str:
    """`a` or `an` before the words."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def plural(shape: str) -> str:
    """The plural of a shape's name."""
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def join_words(parts: list[str]) -> str:
    """`x`, `x and y`, `x, y and z`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def place_phrase(thing: SceneObject) -> str:
    """`at the top left`, `in the center`, ..."""
    return "in the center" if thing.position == "center" else f"at the {thing.position}"


def describe(objects: tuple[SceneObject, ...]) -> str:
    """The plain account of a scene, used as a rationale: everything in it, in reading order."""
    if not objects:
        return "there is nothing to see."
    parts = [f"{article(f'{o.size} {o.name}')} {place_phrase(o)}" for o in objects]
    return f"there is {join_words(parts)}."
