"""Pictures to pixels: CLIP's preprocessing, squashed to a square as KOSMOS-2's authors do it (no aspect-true crop)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from kosmos_eval.errors import CheckpointError

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
BICUBIC = 3


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a `preprocessor_config.json` asks for. `square` squashes; else the shorter edge is resized, then cropped."""

    size: int = 224
    crop: int = 224
    square: bool = True
    resample: int = BICUBIC
    scale: float = 1 / 255
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    def __call__(self, image: PILImage) -> Tensor:
        """An RGB picture to normalised pixels (3, crop, crop), float32, in Hugging Face's arithmetic."""
        from PIL import Image

        width, height = image.size
        if self.square:
            target = (self.size, self.size)
        else:
            short = min(width, height)
            target = (int(self.size * width / short), int(self.size * height / short))
        pixels = np.asarray(image.resize(target, resample=Image.Resampling(self.resample)))
        top, left = (pixels.shape[0] - self.crop) // 2, (pixels.shape[1] - self.crop) // 2
        pixels = pixels[top : top + self.crop, left : left + self.crop].transpose(2, 0, 1)
        scaled = (pixels.astype(np.float64) * self.scale).astype(np.float32)
        mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in (self.mean, self.std))
        return torch.from_numpy(np.ascontiguousarray((scaled - mean) / std))

    @classmethod
    def load(cls, folder: Path, image_size: int) -> Preprocessing:
        """Reads `preprocessor_config.json`, or the part of `processor_config.json` that newer checkpoints have instead.

        CLIP's defaults where there is neither. Raises CheckpointError if it is unreadable or if its pictures would not
        have the network's `image_size`.
        """
        path = folder / "preprocessor_config.json"
        if not path.is_file():
            path = folder / "processor_config.json"
        if not path.is_file():
            return cls(size=image_size, crop=image_size)
        try:
            raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            found = cls._from_json(raw.get("image_processor", raw), image_size)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(f"{path}: not readable as an image preprocessor ({error})") from None
        if found.crop != image_size:
            raise CheckpointError(f"{path}: makes pictures of {found.crop} pixels, the network sees {image_size}")
        if min(found.size, found.crop) != found.crop:
            raise CheckpointError(f"{path}: resizes to {found.size}, which is less than its crop of {found.crop}")
        return found

    @classmethod
    def _from_json(cls, raw: dict[str, Any], image_size: int) -> Preprocessing:
        size, crop = raw.get("size", image_size), raw.get("crop_size", image_size)
        square = bool(raw.get("use_square_size", False)) or (isinstance(size, dict) and "height" in size)
        edge = size if isinstance(size, int) else size.get("shortest_edge", size.get("height"))
        side = crop if isinstance(crop, int) else crop["height"]
        return cls(
            size=int(edge),
            crop=int(side),
            square=square,
            resample=int(raw.get("resample", BICUBIC)),
            scale=float(raw.get("rescale_factor", 1 / 255)),
            mean=tuple(map(float, raw.get("image_mean", CLIP_MEAN))),
            std=tuple(map(float, raw.get("image_std", CLIP_STD))),
        )
