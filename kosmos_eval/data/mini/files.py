"""Writing of the official layouts: folders, JSON, pictures, and a running hash of what went into them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image


class Layout:
    """A folder being filled. Every record and every pixel passes through here, so one hash covers all of it.

    Pixels are hashed before they are compressed: another zlib or libjpeg must not look like another benchmark.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._content = hashlib.blake2b(digest_size=16)
        self._pixels = hashlib.blake2b(digest_size=16)
        self._encoded: dict[tuple[str, bytes], bytes] = {}

    @property
    def content_hash(self) -> str:
        return self._content.hexdigest()

    @property
    def pixel_hash(self) -> str:
        return self._pixels.hexdigest()

    def json(self, name: str, value: Any) -> None:
        """One JSON document."""
        self._text(name, json.dumps(value, ensure_ascii=False))

    def jsonl(self, name: str, rows: Iterable[Any]) -> None:
        """One JSON document a line."""
        self._text(name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    def image(self, name: str, image: Image.Image) -> None:
        """A picture; the name's suffix says in which format."""
        self._content.update(name.encode())
        pixels = image.tobytes()
        self._pixels.update(pixels)
        path = self._path(name)
        path.write_bytes(self._compressed(image, pixels, path.suffix))

    def _compressed(self, image: Image.Image, pixels: bytes, suffix: str) -> bytes:
        """The picture as a file. Some are written again and again: matrices have 400 panels between them."""
        key = suffix, hashlib.blake2b(pixels, digest_size=16).digest()
        if key not in self._encoded:
            file = io.BytesIO()
            if suffix == ".png":
                image.save(file, "png", compress_level=2)
            else:
                image.save(file, "jpeg", quality=92)
            self._encoded[key] = file.getvalue()
        return self._encoded[key]

    def _text(self, name: str, text: str) -> None:
        self._content.update(f"{name}\n{text}".encode())
        self._path(name).write_text(text, encoding="utf-8")

    def _path(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
