"""The mini HatefulMemes: mean against kind, where neither the picture nor the text tells, only the two together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image, ImageDraw

from kosmos_eval.data.mini.files import Layout
from kosmos_eval.data.mini.icons import ICON_SIZE, NASTY, NICE, draw_icon
from kosmos_eval.data.mini.meme_texts import LIKE, UNLIKE, random_meme_text
from kosmos_eval.data.mini.scenes import article
from kosmos_eval.data.mini.seeding import COUNTS, EVAL, TRAIN, balanced, draw, item_rng
from kosmos_eval.data.render_text import CharBox, line_boxes, load_font, wrap_words

TASK = "hateful_memes"
FOLDERS = {TRAIN: "train", EVAL: "dev_seen"}
FIRST_ID = {TRAIN: 10_000, EVAL: 1_000}
_FONT, _FONT_SIZE, _PITCH, _MARGIN = "DejaVuSans-Bold", 15, 18, 6


@dataclass(frozen=True, slots=True)
class Item:
    """A meme; label 1 is mean. `kind` is what is pictured, `nice` if people like it, `stance` what the text says."""

    id: int
    image: Image.Image
    text: str
    label: int
    rationale: str
    kind: str
    nice: bool
    stance: str
    chars: list[CharBox]
    content: str


def sample(split: str, index: int) -> Item:
    """Item `index` of `train` (unbounded) or `eval`: all four mixtures of picture and stance equally often."""
    nice, stance = balanced(TASK, split, index, [(n, s) for n in (True, False) for s in (LIKE, UNLIKE)] * 3)
    text = draw(TASK, split, index, lambda rng: random_meme_text(rng, stance), str)
    rng = item_rng(TASK, split, index, "look")
    kind = rng.choice(list(NICE if nice else NASTY))
    image = draw_icon(kind, rng)
    chars = overlay(image, text, rng.random() < 0.5)
    mean = is_mean(nice, stance)
    return Item(FIRST_ID[split] + index, image, text, int(mean), tell_meme(kind, text), kind, nice, stance, chars, text)


def is_mean(nice: bool, stance: str) -> bool:
    """To be like something nasty, or unlike something nice."""
    return nice == (stance == UNLIKE)


def tell_meme(kind: str, text: str) -> str:
    """The account of a meme that serves as its rationale."""
    return f"a picture of {article(kind)}. the text says: {text}."


def overlay(image: Image.Image, text: str, at_top: bool) -> list[CharBox]:
    """Write the text over the picture as memes do, white with a black rim; returns where its characters stand."""
    face = load_font(_FONT, _FONT_SIZE)
    lines = wrap_words(text, face, ICON_SIZE - 2 * _MARGIN)
    top = _MARGIN if at_top else ICON_SIZE - _MARGIN - _PITCH * len(lines)
    pen = ImageDraw.Draw(image)
    chars: list[CharBox] = []
    for number, line in enumerate(lines):
        x = round((ICON_SIZE - face.getlength(line)) / 2)
        y = top + number * _PITCH
        pen.text((x, y), line, font=face, fill=(255, 255, 255), stroke_width=2, stroke_fill=(0, 0, 0))
        chars += line_boxes(line if number == len(lines) - 1 else f"{line} ", face, x, y)
    return chars


def write(layout: Layout, counts: Mapping[str, int] = COUNTS) -> dict[str, int]:
    """Both jsonl files and the one picture folder they share; returns how many items each split holds."""
    for split, name in FOLDERS.items():
        rows = []
        for index in range(counts[split]):
            item = sample(split, index)
            file = f"img/{item.id:05d}.png"
            layout.image(file, item.image)
            rows.append({
                "id": item.id, "img": file, "label": item.label, "text": item.text, "rationale": item.rationale,
            })
        layout.jsonl(f"{name}.jsonl", rows)
    return {FOLDERS[split]: count for split, count in counts.items()}
