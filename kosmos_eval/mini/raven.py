"""What the decoder is taught of matrices: to name panels, to name the missing one, to compare it with a picture."""

from __future__ import annotations

import random
from collections.abc import Mapping

from torch import Tensor

from kosmos_eval.data.mini.matrices import Matrix, Panel, name_panel, random_matrix
from kosmos_eval.data.mini.raven_iq import tell_panels
from kosmos_eval.data.mini.seeding import belongs_to_eval
from kosmos_eval.mini.dense_labels import place_of
from kosmos_eval.mini.pictures import panel_objects
from kosmos_eval.mini.scripts import ANSWER, LANGUAGE, End, Part, Picture, Words

INTRODUCE = Words(" Introduce these pictures in detail:")
FOLLOWING, IS_IT = Words(" The following image is:"), Words(" Is it correct?")
FIRST_SIDE = 2
"""The first of the four helpers that say which attributes of a candidate are right (`Words.sides`)."""
_COUNTS = {3: "three", 8: "eight"}

Panels = Mapping[Panel, Tensor]


def matrix_script(rng: random.Random, panels: Panels, language: bool = True) -> list[Part]:
    """A matrix as a text to complete (`language`), a candidate beside the true answer as a text, or the whole task."""
    matrix = _random_training_matrix(rng)
    kind = rng.uniform(0 if language else 0.3, 1)
    if kind < 0.3:
        return [INTRODUCE, Words(f" {_told(matrix)}", LANGUAGE), _missing(matrix, 1.0), End(2.0)]
    if kind < 0.6:
        return [INTRODUCE, _missing(matrix, LANGUAGE), *_verdict(rng, matrix, panels)]
    pictures = [Picture(panels[panel]) for panel in matrix.panels]
    shown: list[Part] = [Words(f" Here are {_COUNTS[len(pictures)]} images:"), *pictures]
    if kind < 0.65:
        return [*shown, *_verdict(rng, matrix, panels)]
    account = [*shown, INTRODUCE, *_read(matrix), _missing(matrix, 1.0)]
    return [*account, End(2.0)] if kind < 0.8 else [*account, *_verdict(rng, matrix, panels)]


def _random_training_matrix(rng: random.Random) -> Matrix:
    side = 2 if rng.random() < 0.7 else 3
    matrix = random_matrix(rng, side)
    while belongs_to_eval(matrix.content):
        matrix = random_matrix(rng, side)
    return matrix


def _told(matrix: Matrix) -> str:
    return " ".join(tell_panels(matrix))


def _read(matrix: Matrix) -> list[Words]:
    """The panels in words, each read where the first of its shapes stands."""
    read = []
    for number, (piece, panel) in enumerate(zip(tell_panels(matrix), matrix.panels, strict=True)):
        places = [place_of(panel_objects(panel)[0])] * len(piece)
        read.append(Words(f" {piece}", 1.0, places, picture=number))
    return read


def _missing(matrix: Matrix, weight: float) -> Words:
    return Words(f" missing: {name_panel(matrix.answer)}.", weight)


def _verdict(rng: random.Random, matrix: Matrix, panels: Panels) -> list[Part]:
    """A candidate, right half of the time, and whether it is; the helpers learn which of its attributes are right."""
    right = rng.random() < 0.5
    wrong = [panel for place, panel in enumerate(matrix.candidates) if place != matrix.target]
    candidate = matrix.answer if right else rng.choice(wrong)
    same = {FIRST_SIDE + a: int(candidate[a] == value) for a, value in enumerate(matrix.answer)}
    answer = Words(" Yes" if right else " No", ANSWER, sides=same)
    return [FOLLOWING, Picture(panels[candidate]), IS_IT, answer, End()]
