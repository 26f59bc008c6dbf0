"""The pictures of the mini memes: things people like and things people do not, drawn from simple shapes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from PIL import Image, ImageDraw

from kosmos_eval.data.mini.drawing import Ink, draw_heart, regular_polygon, star_points

ICON_SIZE = 224
Pen = ImageDraw.ImageDraw
_LEAF, _WOOD, _NIGHT, _MUD = (40, 140, 50), (120, 80, 40), (40, 40, 48), (96, 68, 40)
_BRIGHT: tuple[Ink, ...] = (
    (230, 50, 60), (250, 150, 30), (245, 210, 40), (60, 120, 230), (200, 80, 200), (255, 120, 180),
)
_GROUNDS: tuple[Ink, ...] = ((150, 190, 110), (196, 170, 130), (170, 176, 186))
_BANDS: tuple[Ink, ...] = ((220, 40, 40), (250, 150, 30), (245, 220, 50), (50, 160, 60), (50, 90, 220), (130, 50, 170))
_SKIES: tuple[Ink, ...] = ((190, 224, 250), (206, 236, 206), (250, 236, 200), (226, 214, 244), (214, 214, 214))


def _disc(pen: Pen, x: float, y: float, r: float, ink: Ink) -> None:
    pen.ellipse((x - r, y - r, x + r, y + r), fill=ink)


def _flower(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    pen.line((x, y, x, y + s), fill=_LEAF, width=5)
    pen.ellipse((x, y + s * 0.5, x + s * 0.4, y + s * 0.7), fill=_LEAF)
    for px, py in regular_polygon(x, y - s * 0.2, s * 0.42, 6):
        _disc(pen, px, py, s * 0.24, ink)
    _disc(pen, x, y - s * 0.2, s * 0.24, (250, 220, 60))


def _sun(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    for px, py in regular_polygon(x, y, s, 12):
        pen.line((x, y, px, py), fill=(250, 170, 20), width=5)
    _disc(pen, x, y, s * 0.62, (252, 208, 40))


def _rainbow(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    for band, colour in enumerate(_BANDS):
        r = s * (1.05 - 0.11 * band)
        pen.arc((x - r, y + s * 0.5 - r, x + r, y + s * 0.5 + r), 180, 360, fill=colour, width=round(s * 0.12))


def _cake(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    pen.rectangle((x - s * 0.8, y, x + s * 0.8, y + s * 0.8), fill=(236, 190, 140))
    pen.rectangle((x - s * 0.8, y - s * 0.15, x + s * 0.8, y + s * 0.2), fill=ink)
    for offset in (-0.45, 0.0, 0.45):
        cx = x + s * offset
        pen.rectangle((cx - 3, y - s * 0.55, cx + 3, y - s * 0.15), fill=(255, 255, 255))
        _disc(pen, cx, y - s * 0.66, s * 0.1, (255, 170, 0))


def _gift(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    ribbon = (255, 250, 210)
    pen.rectangle((x - s * 0.75, y - s * 0.4, x + s * 0.75, y + s * 0.8), fill=ink)
    pen.rectangle((x - s * 0.12, y - s * 0.4, x + s * 0.12, y + s * 0.8), fill=ribbon)
    for side in (-1, 1):
        left, right = sorted((x, x + side * s * 0.55))
        pen.ellipse((left, y - s * 0.75, right, y - s * 0.38), outline=ribbon, width=6)


def _butterfly(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    for side in (-1, 1):
        left, right = sorted((x, x + side * s * 0.95))
        lower_left, lower_right = sorted((x, x + side * s * 0.75))
        pen.ellipse((left, y - s * 0.8, right, y + s * 0.1), fill=ink)
        pen.ellipse((lower_left, y, lower_right, y + s * 0.7), fill=ink)
        _disc(pen, x + side * s * 0.5, y - s * 0.38, s * 0.14, (255, 255, 255))
    pen.rectangle((x - 4, y - s * 0.6, x + 4, y + s * 0.6), fill=(30, 30, 30))


def _trophy(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    gold = (226, 176, 30)
    pen.ellipse((x - s * 0.85, y - s * 0.65, x + s * 0.85, y + s * 0.15), outline=gold, width=7)
    pen.pieslice((x - s * 0.58, y - s * 1.3, x + s * 0.58, y + s * 0.35), 0, 180, fill=gold)
    pen.rectangle((x - s * 0.09, y + s * 0.3, x + s * 0.09, y + s * 0.65), fill=gold)
    pen.rectangle((x - s * 0.5, y + s * 0.62, x + s * 0.5, y + s * 0.85), fill=_WOOD)


def _balloon(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    pen.line((x, y + s * 0.3, x + s * 0.1, y + s), fill=(60, 60, 60), width=3)
    pen.ellipse((x - s * 0.6, y - s * 0.9, x + s * 0.6, y + s * 0.4), fill=ink)
    pen.ellipse((x - s * 0.35, y - s * 0.7, x - s * 0.15, y - s * 0.4), fill=(255, 255, 255))


def _love(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    draw_heart(pen, x, y, s * 0.9, (226, 40, 70))


def _prize_star(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    pen.polygon(star_points(x, y, s), fill=(250, 200, 30))
    for side in (-1, 1):
        _disc(pen, x + side * s * 0.17, y, s * 0.07, (40, 40, 40))
    pen.arc((x - s * 0.2, y - s * 0.1, x + s * 0.2, y + s * 0.28), 20, 160, fill=(40, 40, 40), width=4)


def _trash(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    pen.polygon([(x - s * 0.6, y - s * 0.35), (x + s * 0.6, y - s * 0.35), (x + s * 0.45, y + s * 0.9),
                 (x - s * 0.45, y + s * 0.9)], fill=(110, 116, 120))
    for offset in (-0.3, 0.0, 0.3):
        pen.line((x + s * offset, y - s * 0.2, x + s * offset * 0.8, y + s * 0.8), fill=(70, 74, 78), width=5)
    pen.polygon([(x - s * 0.7, y - s * 0.5), (x + s * 0.6, y - s * 0.75), (x + s * 0.65, y - s * 0.58),
                 (x - s * 0.65, y - s * 0.34)], fill=(70, 74, 78))


def _spider(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    for side in (-1, 1):
        for reach in (-0.8, -0.3, 0.2, 0.7):
            knee = (x + side * s * 0.6, y + s * (reach - 0.2))
            pen.line([(x, y), knee, (x + side * s * 0.95, y + s * (reach + 0.3))], fill=_NIGHT, width=5)
    _disc(pen, x, y + s * 0.1, s * 0.42, _NIGHT)
    _disc(pen, x, y - s * 0.4, s * 0.25, _NIGHT)


def _storm(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    for dx, dy, r in ((-0.5, -0.2, 0.38), (0.0, -0.4, 0.48), (0.5, -0.2, 0.38), (0.0, -0.1, 0.4)):
        _disc(pen, x + s * dx, y + s * dy, s * r, (76, 80, 92))
    flash = ((0, 0.1), (0.3, 0.1), (0.08, 0.45), (0.28, 0.45), (-0.2, 1), (-0.02, 0.6), (-0.22, 0.6))
    pen.polygon([(x + s * dx, y + s * dy) for dx, dy in flash], fill=(250, 220, 30))


def _rotten_apple(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    for side in (-1, 1):
        _disc(pen, x + side * s * 0.3, y + s * 0.15, s * 0.58, (130, 100, 40))
    pen.line((x, y - s * 0.3, x + s * 0.15, y - s * 0.8), fill=_WOOD, width=6)
    for dx, dy, r in ((-0.4, 0.0, 0.16), (0.35, 0.35, 0.2), (-0.1, 0.45, 0.12)):
        _disc(pen, x + s * dx, y + s * dy, s * r, (60, 44, 24))
    pen.arc((x + s * 0.1, y - s * 0.5, x + s * 0.8, y + s * 0.1), 150, 330, fill=(120, 190, 60), width=9)


def _puddle(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    for dx, dy, w, h in ((-0.3, 0.4, 0.7, 0.35), (0.35, 0.5, 0.65, 0.32), (0.0, 0.65, 0.8, 0.3)):
        pen.ellipse((x + s * (dx - w), y + s * (dy - h), x + s * (dx + w), y + s * (dy + h)), fill=_MUD)
    for dx, dy in ((-0.5, -0.2), (0.0, -0.4), (0.55, -0.1)):
        _disc(pen, x + s * dx, y + s * dy, s * 0.09, _MUD)


def _dead_fish(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    bone = (120, 128, 120)
    pen.line((x - s * 0.7, y, x + s * 0.7, y), fill=bone, width=6)
    for k in range(5):
        cx = x - s * 0.35 + k * s * 0.2
        pen.line((cx, y - s * (0.45 - 0.06 * k), cx, y + s * (0.45 - 0.06 * k)), fill=bone, width=5)
    pen.polygon([(x - s * 0.45, y - s * 0.42), (x - s, y), (x - s * 0.45, y + s * 0.42)], fill=bone)
    pen.polygon([(x + s * 0.6, y), (x + s, y - s * 0.4), (x + s, y + s * 0.4)], fill=bone)
    _disc(pen, x - s * 0.62, y - s * 0.08, s * 0.07, (20, 20, 20))


def _broken_window(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    pen.rectangle((x - s * 0.8, y - s * 0.9, x + s * 0.8, y + s * 0.9), fill=(150, 180, 196), outline=_WOOD, width=10)
    jagged = [(x + math.cos(k * math.pi / 6) * s * (0.62 if k % 2 else 0.25),
               y + math.sin(k * math.pi / 6) * s * (0.66 if k % 2 else 0.28)) for k in range(12)]
    pen.polygon(jagged, fill=(24, 24, 30))


def _stinky_sock(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    wool = (150, 150, 96)
    pen.rectangle((x - s * 0.4, y - s * 0.3, x + s * 0.05, y + s * 0.6), fill=wool)
    pen.rounded_rectangle((x - s * 0.4, y + s * 0.35, x + s * 0.8, y + s * 0.85), radius=s * 0.22, fill=wool)
    _disc(pen, x + s * 0.5, y + s * 0.6, s * 0.12, (60, 50, 30))
    for offset in (-0.5, 0.0, 0.5):
        for k in range(3):
            top = y - s * (0.95 - 0.2 * k)
            start = 90 if k % 2 else 270
            cx = x + s * (offset + 0.1)
            pen.arc((cx - s * 0.1, top, cx + s * 0.1, top + s * 0.2), start, start + 180, fill=(110, 150, 40), width=4)


def _wilted(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    dry = (120, 104, 60)
    pen.arc((x - s * 0.1, y - s * 0.6, x + s * 0.7, y + s * 1.6), 180, 290, fill=dry, width=6)
    pen.line((x - s * 0.07, y + s * 0.4, x - s * 0.07, y + s), fill=dry, width=6)
    for dx, dy in ((0.5, -0.3), (0.75, -0.2), (0.6, 0.0), (0.4, -0.05)):
        petal = (x + s * (dx - 0.14), y + s * (dy - 0.1), x + s * (dx + 0.14), y + s * (dy + 0.3))
        pen.ellipse(petal, fill=(90, 70, 60))


def _skull(pen: Pen, x: float, y: float, s: float, ink: Ink) -> None:
    bone = (244, 240, 226)
    pen.ellipse((x - s * 0.75, y - s * 0.9, x + s * 0.75, y + s * 0.45), fill=bone, outline=_NIGHT, width=3)
    pen.rectangle((x - s * 0.4, y + s * 0.3, x + s * 0.4, y + s * 0.85), fill=bone, outline=_NIGHT, width=3)
    for side in (-1, 1):
        _disc(pen, x + side * s * 0.32, y - s * 0.2, s * 0.2, _NIGHT)
    pen.polygon([(x, y + s * 0.02), (x + s * 0.1, y + s * 0.24), (x - s * 0.1, y + s * 0.24)], fill=_NIGHT)
    for k in (-0.2, 0.0, 0.2):
        pen.line((x + s * k, y + s * 0.5, x + s * k, y + s * 0.85), fill=_NIGHT, width=3)


Drawer = Callable[[Pen, float, float, float, Ink], None]
NICE: dict[str, Drawer] = {
    "flower": _flower, "sun": _sun, "rainbow": _rainbow, "birthday cake": _cake, "gift": _gift, "butterfly": _butterfly,
    "trophy": _trophy, "balloon": _balloon, "heart": _love, "smiling star": _prize_star,
}
NASTY: dict[str, Drawer] = {
    "trash can": _trash, "spider": _spider, "storm cloud": _storm, "rotten apple": _rotten_apple, "mud puddle": _puddle,
    "fish skeleton": _dead_fish, "broken window": _broken_window, "dirty sock": _stinky_sock, "wilted plant": _wilted,
    "skull": _skull,
}


def draw_icon(kind: str, rng: random.Random) -> Image.Image:
    """A picture of one kind of thing; ground, place, scale and (for some) colour vary, and tell nothing of the kind."""
    image = Image.new("RGB", (ICON_SIZE, ICON_SIZE), rng.choice(_SKIES))
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.5:
        pen.rectangle((0, 150, ICON_SIZE, ICON_SIZE), fill=rng.choice(_GROUNDS))
    x, y, scale = 112 + rng.randint(-30, 30), 116 + rng.randint(-8, 8), rng.randint(40, 52)
    (NICE.get(kind) or NASTY[kind])(pen, x, y, scale, rng.choice(_BRIGHT))
    return image
