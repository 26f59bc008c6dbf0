"""Scenes as pictures."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw

from kosmos_eval.data.mini.scenes import BACKGROUNDS, COLOURS, SCENE_SIZE, Scene, SceneObject

Point = tuple[float, float]
Ink = tuple[int, int, int]


def regular_polygon(cx: float, cy: float, radius: float, corners: int, turn: float = 0.0) -> list[Point]:
    """Corners of a regular polygon, the first one at the top, turned by `turn` radians."""
    angles = (turn - math.pi / 2 + 2 * math.pi * k / corners for k in range(corners))
    return [(cx + radius * math.cos(a), cy + radius * math.sin(a)) for a in angles]


def star_points(cx: float, cy: float, radius: float) -> list[Point]:
    """A five-pointed star."""
    outer = regular_polygon(cx, cy, radius, 5)
    inner = regular_polygon(cx, cy, radius * 0.42, 5, math.pi / 5)
    return [point for pair in zip(outer, inner, strict=True) for point in pair]


def cross_points(cx: float, cy: float, radius: float) -> list[Point]:
    """A plus sign."""
    r, a = radius * 0.95, radius * 0.34
    quarter = [(-a, -r), (a, -r), (a, -a)]
    offsets = quarter + [(-y, x) for x, y in quarter] + [(-x, -y) for x, y in quarter] + [(y, -x) for x, y in quarter]
    return [(cx + x, cy + y) for x, y in offsets]


def draw_heart(draw: ImageDraw.ImageDraw, cx: float, cy: float, r: float, ink: Ink) -> None:
    """Two lobes and a point."""
    lobe = r * 0.52
    for side in (-1, 1):
        x = cx + side * r * 0.46
        draw.ellipse((x - lobe, cy - r * 0.85, x + lobe, cy - r * 0.85 + 2 * lobe), fill=ink)
    draw.polygon([(cx - r * 0.94, cy - r * 0.14), (cx + r * 0.94, cy - r * 0.14), (cx, cy + r * 0.95)], fill=ink)


def draw_shape(draw: ImageDraw.ImageDraw, thing: SceneObject) -> None:
    """One object in its colour."""
    cx, cy, r, ink = thing.cx, thing.cy, thing.radius, COLOURS[thing.colour]
    if thing.shape == "circle":
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=ink)
    elif thing.shape == "ring":
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), outline=ink, width=max(4, round(r * 0.36)))
    elif thing.shape == "square":
        half = r * 0.84
        draw.rectangle((cx - half, cy - half, cx + half, cy + half), fill=ink)
    elif thing.shape == "triangle":
        draw.polygon([(cx, cy - r), (cx + r * 0.95, cy + r * 0.78), (cx - r * 0.95, cy + r * 0.78)], fill=ink)
    elif thing.shape == "diamond":
        draw.polygon([(cx, cy - r), (cx + r * 0.72, cy), (cx, cy + r), (cx - r * 0.72, cy)], fill=ink)
    elif thing.shape == "star":
        draw.polygon(star_points(cx, cy, r), fill=ink)
    elif thing.shape == "cross":
        draw.polygon(cross_points(cx, cy, r), fill=ink)
    else:
        draw_heart(draw, cx, cy, r, ink)


def draw_scene(scene: Scene) -> Image.Image:
    """The whole scene at 224x224."""
    image = Image.new("RGB", (SCENE_SIZE, SCENE_SIZE), BACKGROUNDS[scene.background])
    draw = ImageDraw.Draw(image)
    for thing in scene.objects:
        draw_shape(draw, thing)
    return image
