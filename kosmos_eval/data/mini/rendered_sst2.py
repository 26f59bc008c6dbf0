"""The mini Rendered SST-2: opinions as pictures of text, in the layout of `rendered-sst2.tgz`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from kosmos_eval.data.mini.files import Layout
from kosmos_eval.data.mini.seeding import COUNTS, EVAL, TRAIN, balanced, draw, item_rng
from kosmos_eval.data.mini.sentences import random_opinion
from kosmos_eval.data.render_text import CharBox, RenderedText, render_text

TASK = "rendered_sst2"
SIZE = 448
FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono")
FONT_SIZES = (18, 20, 22, 24, 26, 28)
FOLDERS = {TRAIN: "train", EVAL: "test"}


@dataclass(frozen=True, slots=True)
class Item:
    """A rendered opinion; `chars` are the dense truth, in pixels of `image`."""

    image: Image.Image
    label: str
    rationale: str
    chars: list[CharBox]
    font: str
    font_size: int
    content: str


def sample(split: str, index: int) -> Item:
    """Item `index` of `train` (unbounded) or `eval`, without touching the disk."""
    label = balanced(TASK, split, index, ("negative", "positive") * 5)
    opinion = draw(TASK, split, index, lambda rng: random_opinion(rng, label == "positive"), lambda made: made.content)
    rng = item_rng(TASK, split, index, "look")
    font, font_size = rng.choice(FONTS), rng.choice(FONT_SIZES)
    rendered = _render(opinion.text, font, font_size, rng.randint(0, 24), rng.randint(0, 60))
    return Item(rendered.image, label, opinion.text, rendered.chars, font, font_size, opinion.content)


def _render(text: str, font: str, font_size: int, x_offset: int, y_offset: int) -> RenderedText:
    """The text at its offset, or, where a long one would run out of the picture, at the top."""
    pitch = round(font_size * 1.27)
    try:
        return render_text(
            text, size=SIZE, font=font, font_size=font_size, line_pitch=pitch, x_offset=x_offset, y_offset=y_offset
        )
    except ValueError:
        return render_text(text, size=SIZE, font=font, font_size=font_size, line_pitch=pitch)


def write(layout: Layout, counts: Mapping[str, int] = COUNTS) -> dict[str, int]:
    """Both splits; returns how many items each holds."""
    for split, folder in FOLDERS.items():
        rationales = []
        for index in range(counts[split]):
            item = sample(split, index)
            file = f"{item.label}/{index:04d}.png"
            layout.image(f"{folder}/{file}", item.image.convert("L"))
            rationales.append({"file": file, "rationale": item.rationale})
        layout.jsonl(f"{folder}/rationales.jsonl", rationales)
    return {FOLDERS[split]: count for split, count in counts.items()}
