"""What the picture holds where: labels for each patch and each image token, from a generator's own boxes.

The picture is a grid of 16x16 patches. Image token `i` is to hold what patches `4i..4i+3` show, a strip of a patch row:
the characters whose centre lies in the strip, in order, one to a slot, and the object whose centre lies in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kosmos_eval.data.mini import icons, matrices, scenes
from kosmos_eval.data.mini.scenes import SceneObject
from kosmos_eval.data.render_text import CharBox
from kosmos_eval.mini.tokenizer import ALPHABET, SPACE

GRID, STRIP = 16, 4
PATCHES, TOKENS = GRID * GRID, GRID * GRID // STRIP
CONTEXT, OWN = 2, 14
SLOTS = CONTEXT + OWN
"""Slots of an image token: two characters that end just before its strip, then those in it."""
BINS = 5
"""Columns of a patch, each narrow enough for one character's centre: what a patch sees without counting."""
SHAPES = ("none", *scenes.SHAPES, "pentagon", "hexagon")
COLOURS = ("none", *scenes.COLOURS, "white", "light gray", "dark gray")
SIZES = ("none", "small", "large", "tiny", "huge")
COUNTS = ("none", *matrices.COUNTS)
KINDS = ("none", *icons.NICE, *icons.NASTY, "unreadable")
CELLS = ("none", *scenes.POSITIONS)
"""Where an object stands in the 3x3 grid that scenes are told by: the strips of image tokens cross its columns, so that
an image token must say it."""
ATTRIBUTES = {"shape": SHAPES, "colour": COLOURS, "size": SIZES, "count": COUNTS, "kind": KINDS, "cell": CELLS}
_CELL = list(ATTRIBUTES).index("cell")
_CODE = {char: code for code, char in enumerate(ALPHABET)}

Ints = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one character stands: its image token, and which bin of its strip, from left to right."""

    token: int
    bin: int


@dataclass(slots=True)
class Labels:
    """Labels of one picture: per patch and per image token, a character (or -1) for each slot, and attributes."""

    patch_chars: Ints = field(default_factory=lambda: np.full((PATCHES, SLOTS), -1, np.int16))
    patch_bins: Ints = field(default_factory=lambda: np.full((PATCHES, BINS), -1, np.int16))
    token_chars: Ints = field(default_factory=lambda: np.full((TOKENS, SLOTS), -1, np.int16))
    patch_attributes: Ints = field(default_factory=lambda: np.zeros((PATCHES, len(ATTRIBUTES)), np.int16))
    token_attributes: Ints = field(default_factory=lambda: np.zeros((TOKENS, len(ATTRIBUTES)), np.int16))
    places: list[Place] = field(default_factory=list)


def _lines(chars: Sequence[CharBox]) -> list[list[CharBox]]:
    """Characters of one line share their top; a new line starts lower."""
    lines: list[list[CharBox]] = []
    for box in chars:
        if not lines or box[2] != lines[-1][-1][2]:
            lines.append([])
        lines[-1].append(box)
    return lines


def label_text(labels: Labels, chars: Sequence[CharBox], picture_size: int) -> None:
    """Characters into slots. Two lines never share a patch row: small type pushes the lower one to the next row."""
    patch = picture_size / GRID
    previous = -1
    for line in _lines(chars):
        row = min(GRID - 1, max(previous + 1, int((line[0][2] + line[0][4]) / 2 / patch)))
        previous = row
        _label_line(labels, line, row, patch)


def _label_line(labels: Labels, line: list[CharBox], row: int, patch: float) -> None:
    filled: dict[int, int] = {}
    before: list[int] = []
    for char, x0, _, x1, _ in line:
        code = _CODE.get(SPACE if char == " " else char, -1)
        place = min(GRID - 1e-3, max(0.0, (x0 + x1) / 2 / patch))
        column = int(place)
        inside = int((place - column) * BINS)
        labels.patch_bins[row * GRID + column, inside] = code
        token = row * (GRID // STRIP) + column // STRIP
        rank = filled.get(token, 0)
        filled[token] = rank + 1
        slot = CONTEXT + min(rank, OWN - 1)
        labels.places.append(Place(token, column % STRIP * BINS + inside))
        if rank == 0:
            for back, earlier in enumerate(reversed(before[-CONTEXT:])):
                labels.token_chars[token, CONTEXT - 1 - back] = earlier
                labels.patch_chars[token * STRIP, CONTEXT - 1 - back] = earlier
        if rank < OWN:
            labels.token_chars[token, slot] = code
            labels.patch_chars[row * GRID + column, slot] = code
        before.append(code)


def label_objects(labels: Labels, objects: Sequence[SceneObject]) -> None:
    """Each patch under an object, and the image token of its centre, learns its shape, colour, size and cell."""
    axis = (np.arange(GRID) + 0.5) * (224 / GRID)
    for thing in objects:
        values = (SHAPES.index(thing.shape), COLOURS.index(thing.colour), SIZES.index(thing.size))
        under = (axis[:, None] - thing.cy) ** 2 + (axis[None, :] - thing.cx) ** 2 < (0.8 * thing.radius) ** 2
        row, column = (min(GRID - 1, max(0, int(v / 224 * GRID))) for v in (thing.cy, thing.cx))
        under[row, column] = True
        for attributes, places in (
            (labels.patch_attributes, under.reshape(-1)),
            (labels.token_attributes, row * (GRID // STRIP) + column // STRIP),
        ):
            attributes[places, :3] = values
            attributes[places, _CELL] = CELLS.index(thing.position)


def place_of(thing: SceneObject) -> Place:
    """Where an object's centre lies."""
    row, column = (min(GRID - 1e-3, max(0.0, v / 224 * GRID)) for v in (thing.cy, thing.cx))
    token = int(row) * (GRID // STRIP) + int(column) // STRIP
    return Place(token, int(column) % STRIP * BINS + int((column - int(column)) * BINS))


def label_panel(labels: Labels, panel: matrices.Panel, things: Sequence[SceneObject]) -> None:
    """A matrix panel: its objects, and at each of them how many there are."""
    label_objects(labels, things)
    count = 3
    for attributes in (labels.patch_attributes, labels.token_attributes):
        attributes[attributes[:, 0] > 0, count] = panel[3] + 1


def label_kind(labels: Labels, kind: str) -> None:
    """What the whole picture is of, said everywhere."""
    labels.patch_attributes[:, 4] = labels.token_attributes[:, 4] = KINDS.index(kind)
