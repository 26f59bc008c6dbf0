"""What goes wrong in pictures people take without seeing them: mildly (still readable) or beyond reading."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFilter

from kosmos_eval.data.mini.drawing import draw_scene
from kosmos_eval.data.mini.scenes import BACKGROUNDS, SCENE_SIZE, Scene, SceneObject

READABLE = ("none", "blurred", "dark", "noisy", "rotated", "cropped", "rotated and dark", "cropped and blurred")
UNREADABLE = ("too dark", "too blurred", "too noisy", "too bright", "out of frame", "covered")
_FINGERS = ((196, 140, 116), (150, 98, 76), (98, 62, 46))
_CENTRE = SCENE_SIZE / 2


@dataclass(frozen=True, slots=True)
class Photo:
    """A degraded picture and the objects that are in it, where they are in it. In an unreadable one nothing is."""

    image: Image.Image
    objects: tuple[SceneObject, ...]
    flaw: str


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the camera looks: (x, y) of the scene in the middle of the picture, turned and zoomed."""

    x: float = _CENTRE
    y: float = _CENTRE
    angle: float = 0.0
    zoom: float = 1.0

    def see(self, thing: SceneObject) -> SceneObject:
        """The object in picture coordinates."""
        dx, dy = thing.cx - self.x, thing.cy - self.y
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        cx = _CENTRE + self.zoom * (cos * dx - sin * dy)
        cy = _CENTRE + self.zoom * (sin * dx + cos * dy)
        return replace(thing, cx=cx, cy=cy, radius=thing.radius * self.zoom)

    def shoot(self, image: Image.Image, ground: tuple[int, int, int]) -> Image.Image:
        """The picture as seen: the inverse of `see`, by bilinear resampling."""
        cos, sin = math.cos(self.angle) / self.zoom, math.sin(self.angle) / self.zoom
        matrix = (
            cos, sin, self.x - _CENTRE * (cos + sin),
            -sin, cos, self.y - _CENTRE * (cos - sin),
        )
        return image.transform(
            image.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR, fillcolor=ground
        )


def _inside(thing: SceneObject) -> bool:
    """Wholly in the picture."""
    return all(thing.radius <= c <= SCENE_SIZE - thing.radius for c in (thing.cx, thing.cy))


def _outside(thing: SceneObject) -> bool:
    """Wholly out of the picture."""
    return any(not -thing.radius < c < SCENE_SIZE + thing.radius for c in (thing.cx, thing.cy))


def _aim(rng: random.Random, scene: Scene, flaw: str) -> Camera:
    """A camera for the flaw that cuts no object in two and keeps at least one, or the plain view if none is found."""
    for _ in range(20):
        if "rotated" in flaw:
            camera = Camera(angle=math.radians(rng.choice((-1, 1)) * rng.uniform(6, 16)), zoom=0.88)
        elif "cropped" in flaw:
            at = rng.choice(scene.objects)
            camera = Camera(at.cx + rng.uniform(-30, 30), at.cy + rng.uniform(-30, 30), 0.0, rng.uniform(1.3, 1.7))
        else:
            break
        seen = [camera.see(o) for o in scene.objects]
        if any(map(_inside, seen)) and all(_inside(o) or _outside(o) for o in seen):
            return camera
    return Camera()


def readable_photo(rng: random.Random, scene: Scene) -> Photo:
    """A picture with a mild flaw: whatever is in it can be told."""
    flaw = rng.choice(READABLE)
    camera = _aim(rng, scene, flaw)
    image = camera.shoot(draw_scene(scene), BACKGROUNDS[scene.background])
    if "blurred" in flaw:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(1.0, 2.4)))
    if "dark" in flaw:
        image = _expose(image, rng.uniform(0.35, 0.6), 0)
    if "noisy" in flaw:
        image = _add_noise(image, rng, rng.uniform(14, 30))
    seen = tuple(o for o in map(camera.see, scene.objects) if _inside(o))
    return Photo(image, seen, flaw)


def unreadable_photo(rng: random.Random, scene: Scene) -> Photo:
    """A picture in which no one can tell what was there; what little remains is below its noise."""
    flaw = rng.choice(UNREADABLE)
    if flaw == "out of frame":
        image = Image.new("RGB", (SCENE_SIZE, SCENE_SIZE), BACKGROUNDS[scene.background])
        return Photo(_add_noise(_expose(image, rng.uniform(0.5, 0.95), 0), rng, rng.uniform(2, 6)), (), flaw)
    if flaw == "covered":
        image = Image.new("RGB", (SCENE_SIZE, SCENE_SIZE), rng.choice(_FINGERS))
        return Photo(_add_noise(_expose(image, rng.uniform(0.6, 1.1), 0), rng, rng.uniform(2, 6)), (), flaw)
    image = draw_scene(scene)
    if flaw == "too dark":
        image = _add_noise(_expose(image, 0.006, rng.uniform(2, 10)), rng, 5)
    elif flaw == "too bright":
        image = _add_noise(_expose(image, 0.006, rng.uniform(242, 250)), rng, 5)
    elif flaw == "too noisy":
        image = _add_noise(_expose(image, 0.02, rng.uniform(100, 130)), rng, 70)
    else:
        image = image.filter(ImageFilter.GaussianBlur(40)).convert("L").convert("RGB")
        image = _add_noise(_expose(image, 0.15, rng.uniform(70, 170)), rng, 3)
    return Photo(image, (), flaw)


def _expose(image: Image.Image, gain: float, offset: float) -> Image.Image:
    """gain * value + offset."""
    return image.point([min(255, max(0, round(gain * value + offset))) for value in range(256)] * 3)


def _add_noise(image: Image.Image, rng: random.Random, spread: float) -> Image.Image:
    """Near-normal noise from the item's own stream (numpy's streams may change between versions)."""
    pixels = np.asarray(image, dtype=np.float32)
    throws = np.frombuffer(rng.randbytes(2 * pixels.size), dtype=np.uint8).reshape(2, *pixels.shape)
    noise = (throws[0].astype(np.float32) + throws[1] - 255.0) * (spread / 104.5)
    return Image.fromarray(np.clip(pixels + noise + 0.5, 0, 255).astype(np.uint8))
