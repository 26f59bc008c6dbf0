"""The mini Raven IQ: matrices in IQ50's folders (`exp-N/query-i.png`, `answer-{a..f}.png`) and a labels file."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image, ImageDraw

from kosmos_eval.data.mini.drawing import regular_polygon
from kosmos_eval.data.mini.files import Layout
from kosmos_eval.data.mini.matrices import SHAPES, Matrix, Panel, name_panel, random_matrix
from kosmos_eval.data.mini.seeding import COUNTS, EVAL, TRAIN, TRAIN_COUNT, balanced, draw

TASK = "raven_iq"
FOLDERS = {TRAIN: "train", EVAL: "test"}
PANEL_SIZE = 112
LETTERS = "abcdef"
_RADII = (10, 14, 19, 25)
_GRAYS = (255, 196, 136, 76, 0)
_CORNERS = {"triangle": 3, "square": 4, "pentagon": 5, "hexagon": 6}
_SEATS = ((28, 28), (84, 28), (28, 84), (84, 84))


@dataclass(frozen=True, slots=True)
class Item:
    """A matrix: its panels in reading order without the last, six candidates, and which of them is right.

    `panel_truth` and `candidate_truth` hold each panel's attributes, as places in the lists of `matrices.ATTRIBUTES`.
    """

    panels: list[Image.Image]
    candidates: list[Image.Image]
    target: int
    rationale: str
    side: int
    rules: tuple[str, ...]
    panel_truth: tuple[Panel, ...]
    candidate_truth: tuple[Panel, ...]
    content: str


def side_of(split: str, index: int) -> int:
    """Demonstrations are 2x2, so that few-shot contexts stay short; of eval and fresh training items half are 3x3."""
    if split == TRAIN and index < TRAIN_COUNT:
        return 2
    return balanced(TASK, split, index, [2, 3] * 3)


def sample(split: str, index: int) -> Item:
    """Item `index` of `train` (unbounded) or `eval`, without touching the disk."""
    side = side_of(split, index)
    matrix = draw(TASK, split, index, lambda rng: random_matrix(rng, side), lambda made: made.content)
    return Item(
        panels=[draw_panel(panel) for panel in matrix.panels],
        candidates=[draw_panel(panel) for panel in matrix.candidates],
        target=matrix.target,
        rationale=explain(matrix),
        side=side,
        rules=matrix.rules,
        panel_truth=matrix.panels,
        candidate_truth=matrix.candidates,
        content=matrix.content,
    )


@functools.cache
def draw_panel(panel: Panel) -> Image.Image:
    """Up to four equal shapes: one in the middle, two side by side, three or four on the seats of a 2x2 table.

    There are 400 of them; the pictures are shared, so nobody may draw on them.
    """
    shape, size, colour, count = panel
    image = Image.new("RGB", (PANEL_SIZE, PANEL_SIZE), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    middle = PANEL_SIZE // 2
    seats = {0: ((middle, middle),), 1: ((28, middle), (84, middle))}.get(count, _SEATS[: count + 1])
    for x, y in seats:
        _draw_shape(pen, SHAPES[shape], x, y, _RADII[size], _GRAYS[colour])
    return image


def _draw_shape(pen: ImageDraw.ImageDraw, shape: str, x: int, y: int, radius: int, gray: int) -> None:
    """A filled shape with a black rim, since white ones must be seen too."""
    fill, rim = (gray, gray, gray), (0, 0, 0)
    if shape == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill, outline=rim, width=2)
        return
    corners = _CORNERS[shape]
    turn = 3.14159265 / 4 if corners == 4 else 0.0
    pen.polygon(regular_polygon(x, y, radius, corners, turn), fill=fill, outline=rim, width=2)


def explain(matrix: Matrix) -> str:
    """The panels in words, row by row, and from them the missing one."""
    return " ".join([*tell_panels(matrix), f"missing: {name_panel(matrix.answer)}."])


def tell_panels(matrix: Matrix) -> list[str]:
    """What is said of each panel: its name, with the row it begins and the mark it ends in."""
    told = []
    for number, panel in enumerate(matrix.panels):
        row, column = divmod(number, matrix.side)
        begun = f"row {row + 1}: " if column == 0 else ""
        told.append(f"{begun}{name_panel(panel)}{'.' if column == matrix.side - 1 else ';'}")
    return told


def write(layout: Layout, counts: Mapping[str, int] = COUNTS) -> dict[str, int]:
    """Both splits' folders, labels and rationales; returns how many matrices each holds."""
    for split, name in FOLDERS.items():
        labels: dict[str, str] = {}
        rationales: dict[str, str] = {}
        for index in range(counts[split]):
            item, folder = sample(split, index), f"exp-{index + 1}"
            for number, panel in enumerate(item.panels, start=1):
                layout.image(f"{name}/{folder}/query-{number}.png", panel.convert("L"))
            for letter, candidate in zip(LETTERS, item.candidates, strict=True):
                layout.image(f"{name}/{folder}/answer-{letter}.png", candidate.convert("L"))
            labels[folder], rationales[folder] = LETTERS[item.target], item.rationale
        layout.json(f"{name}/labels.json", labels)
        layout.json(f"{name}/rationales.json", rationales)
    return {FOLDERS[split]: count for split, count in counts.items()}
