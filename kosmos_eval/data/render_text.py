"""Text as a picture: the look of Rendered SST-2, and its re-rendering from a sentence file a user has."""

from __future__ import annotations

import functools
import importlib.util
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from kosmos_eval.disk import storing
from kosmos_eval.errors import DataError

RERENDERED_MARKER = "KOSMOS_EVAL_RERENDERED.json"
LABELS = {"0": "negative", "1": "positive"}
_BRACKETS = {"-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "-lcb-": "{", "-rcb-": "}"}

CharBox = tuple[str, int, int, int, int]


@dataclass(frozen=True, slots=True)
class RenderedText:
    """A picture of text, and where each character of it stands: (character, x0, y0, x1, y1), in reading order."""

    image: Image.Image
    chars: list[CharBox]


@functools.cache
def load_font(font: str, font_size: int) -> ImageFont.FreeTypeFont:
    """A DejaVu face from matplotlib's wheel: the same outlines on every machine, found without importing matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("fonts: matplotlib is not installed; its wheel holds the fonts text is rendered with")
    path = Path(next(iter(spec.submodule_search_locations))) / "mpl-data" / "fonts" / "ttf" / f"{font}.ttf"
    if not path.is_file():
        raise DataError(f"{path}: no such font; use DejaVuSans, DejaVuSerif or DejaVuSansMono, perhaps with -Bold")
    return ImageFont.truetype(str(path), font_size, layout_engine=ImageFont.Layout.BASIC)


@functools.cache
def _advance(font: ImageFont.FreeTypeFont, piece: str) -> float:
    """The width of a piece of text; cached, because layout asks for the same letters again and again."""
    return font.getlength(piece)


def wrap_words(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Greedy lines of whole words. A word wider than a line is an error, since nothing is shrunk or broken."""
    space = _advance(font, " ")
    lines: list[str] = []
    room = -1.0
    for word in text.split():
        needed = _advance(font, word)
        if needed > width:
            raise ValueError(f"the word {word!r} is {needed:.0f} pixels wide and a line is {width}")
        if lines and needed + space <= room:
            lines[-1] += f" {word}"
            room -= needed + space
        else:
            lines.append(word)
            room = width - needed
    return lines


def line_boxes(line: str, font: ImageFont.FreeTypeFont, x: int, y: int) -> list[CharBox]:
    """A box for each character of a line drawn at (x, y), spaces included; boxes touch, as advances do."""
    height = sum(font.getmetrics())
    boxes: list[CharBox] = []
    start = float(x)
    for char in line:
        end = start + _advance(font, char)
        boxes.append((char, round(start), y, round(end), y + height))
        start = end
    return boxes


def draw_line(draw: ImageDraw.ImageDraw, line: str, font: ImageFont.FreeTypeFont, x: int, y: int) -> list[CharBox]:
    """Draw one black line of text and say where its characters stand."""
    draw.text((x, y), line, fill=0, font=font)
    return line_boxes(line, font, x, y)


def render_text(
    text: str,
    *,
    size: int = 448,
    font: str = "DejaVuSans",
    font_size: int = 22,
    line_pitch: int = 28,
    margin: int = 14,
    x_offset: int = 0,
    y_offset: int = 0,
) -> RenderedText:
    """Black words on white, wrapped, at a fixed line pitch. The characters joined are the text with single spaces.

    The space a line break stands for has its box after the line's last letter. Text that does not fit is an error:
    a silently smaller font would be another benchmark.
    """
    face = load_font(font, font_size)
    left, top = margin + x_offset, margin + y_offset
    lines = wrap_words(text, face, size - margin - max(left, 0))
    bottom = top + line_pitch * (len(lines) - 1) + sum(face.getmetrics())
    if left < 0 or top < 0 or bottom > size:
        raise ValueError(f"{len(lines)} lines at pitch {line_pitch} do not fit {size} pixels: {text[:60]!r}...")
    canvas = Image.new("L", (size, size), 255)
    pen = ImageDraw.Draw(canvas)
    chars: list[CharBox] = []
    for number, line in enumerate(lines):
        drawn = line if number == len(lines) - 1 else f"{line} "
        chars += draw_line(pen, drawn, face, left, top + number * line_pitch)
    return RenderedText(canvas.convert("RGB"), chars)


def read_stsa(sentences_file: Path) -> list[tuple[str, str]]:
    """The (label folder, sentence) pairs of an `stsa.binary` file: `0 text` or `1 text` a line."""
    try:
        lines = sentences_file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{sentences_file}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{sentences_file}: not UTF-8 at byte {error.start}") from error
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(lines, start=1):
        label, _, text = line.strip().partition(" ")
        if label not in LABELS or not text.strip():
            raise DataError(f"{sentences_file}, line {number}: expected '0 text' or '1 text', found {line[:60]!r}")
        words = (_BRACKETS.get(word.lower(), word) for word in text.split())
        pairs.append((LABELS[label], " ".join(words)))
    if not pairs:
        raise DataError(f"{sentences_file}: holds no sentence")
    return pairs


def render_sst2(sentences_file: Path, out: Path, split: str) -> int:
    """Write a sentence file as one split of Rendered SST-2's official layout; returns how many pictures were made.

    These are not the official pictures, so a marker file makes every result made from them say `re-rendered`. The
    split appears whole or not at all. Raises DataError if a sentence does not fit or the split is there already,
    StoreError where it cannot be written.
    """
    pairs = read_stsa(sentences_file)
    if not split or Path(split).name != split:
        raise DataError(f"{split!r} is not the name of a split")
    if (out / split).exists():
        raise DataError(f"{out / split} is there already: remove it, or render to another folder")
    with storing(out / split):
        out.mkdir(parents=True, exist_ok=True)
        _render_split(pairs, sentences_file, out, split)
    return len(pairs)


def _render_split(pairs: list[tuple[str, str]], sentences_file: Path, out: Path, split: str) -> None:
    with tempfile.TemporaryDirectory(dir=out, prefix=".rendering-") as scratch:
        _render_pairs(pairs, sentences_file, Path(scratch) / split)
        _mark_rerendered(out, split, sentences_file.name, len(pairs))
        (Path(scratch) / split).rename(out / split)


def _render_pairs(pairs: list[tuple[str, str]], sentences_file: Path, folder: Path) -> None:
    for label in LABELS.values():
        (folder / label).mkdir(parents=True)
    with (folder / "rationales.jsonl").open("w", encoding="utf-8") as rationales:
        for index, (label, sentence) in enumerate(pairs):
            file = f"{label}/{index:05d}.png"
            try:
                render_text(sentence).image.convert("L").save(folder / file)
            except ValueError as error:
                raise DataError(f"{sentences_file}, line {index + 1}: {error}") from error
            rationales.write(json.dumps({"file": file, "rationale": sentence}, ensure_ascii=False) + "\n")


def _mark_rerendered(out: Path, split: str, source: str, count: int) -> None:
    """Note the split in the marker file beside the splits, keeping what is noted of others."""
    marker = out / RERENDERED_MARKER
    noted: dict[str, Any] = {"kind": "re-rendered", "splits": {}}
    if marker.is_file():
        noted = json.loads(marker.read_text(encoding="utf-8"))
    noted["splits"][split] = {"source": source, "count": count}
    marker.write_text(json.dumps(noted, indent=2, sort_keys=True) + "\n", encoding="utf-8")
