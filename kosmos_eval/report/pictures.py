"""A report's pictures: each once, by its content, small enough that the file stays small."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kosmos_eval.data.images import load
from kosmos_eval.errors import ImageError
from kosmos_eval.prompt import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

SIDE = 384
"""The longest side of a picture in a report, in pixels; larger ones are made smaller, small ones stay as they are."""

_QUALITY = 78

UNREADABLE, LEFT_OUT = -1, -2
"""What stands for a picture that cannot be decoded, and for one that the budget has no room for."""


@dataclass
class Pictures:
    """Numbers pictures in the order they are asked for, up to a budget of encoded bytes."""

    budget: int
    entries: list[tuple[str, int, int]] = field(default_factory=list)
    """(data URI, width, height) by number."""
    left_out: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    """Name -> why."""
    spent: int = 0
    _by_source: dict[tuple[str, str, str | None], int] = field(default_factory=dict)
    _by_content: dict[bytes, int] = field(default_factory=dict)

    def number(self, image: Image) -> int:
        """The picture's number, or why it has none."""
        source = (str(image.path), image.name, image.record)
        if source not in self._by_source:
            self._by_source[source] = self._add(image)
        return self._by_source[source]

    def _add(self, image: Image) -> int:
        if self.spent >= self.budget:
            self.left_out += 1
            return LEFT_OUT
        try:
            picture = load(image)
        except ImageError as error:
            self.unreadable[image.name] = str(error)
            return UNREADABLE
        picture.thumbnail((SIDE, SIDE))
        content = hashlib.blake2b(f"{picture.size}".encode() + picture.tobytes(), digest_size=16).digest()
        if content not in self._by_content:
            uri = data_uri(picture)
            self.spent += len(uri)
            self._by_content[content] = len(self.entries)
            self.entries.append((uri, *picture.size))
        return self._by_content[content]


def data_uri(picture: PILImage) -> str:
    """The picture as WebP, lossless or not, whichever is smaller: drawings and text are, photographs are not."""
    encoded = min((_webp(picture, lossless=True), _webp(picture, lossless=False)), key=len)
    return "data:image/webp;base64," + base64.b64encode(encoded).decode("ascii")


def _webp(picture: PILImage, lossless: bool) -> bytes:
    out = io.BytesIO()
    picture.save(out, "WEBP", lossless=lossless, quality=_QUALITY, method=3)
    return out.getvalue()
