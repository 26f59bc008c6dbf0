"""Keys: one integer for each position of a sequence, equal exactly where the network's input is equal.

A token's key is its id. The slots of an image have negative keys, counted through the images of a window, so that two
sequences share a prefix exactly where their keys do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kosmos_eval.kosmos.processor import Encoded
from kosmos_eval.prompt import Image

Keys = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence as the engine sees it: `keys` (tokens,), and `ids` with placeholders in image slots."""

    keys: Keys
    ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)


class Numbering(Protocol):
    """Numbers the pictures of a window: the same picture has the same number."""

    def number(self, image: Image) -> int: ...


def sequence(encoded: Encoded, images: Numbering) -> Sequence:
    """Gives every position its key. Raises ImageError for a picture that cannot be read."""
    keys = np.array(encoded.ids, dtype=np.int64)
    for start, image in encoded.spans:
        first = images.number(image) * encoded.image_tokens
        keys[start : start + encoded.image_tokens] = -1 - np.arange(first, first + encoded.image_tokens)
    return Sequence(keys, encoded.ids)


def common(a: Keys, b: Keys) -> int:
    """The length of the longest common prefix."""
    n = min(len(a), len(b))
    different = np.flatnonzero(a[:n] != b[:n])
    return int(different[0]) if len(different) else n
