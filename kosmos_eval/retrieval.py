"""How the index of `--demos rices` is made: every picture's vector once, kept by its content for all later runs."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.data.images import load as load_image
from kosmos_eval.data.mini.cache import cache_root
from kosmos_eval.disk import storing
from kosmos_eval.errors import CheckpointError, ImageError, StoreError, UsageError
from kosmos_eval.models.base import NO_TOWER, Embedder, Model
from kosmos_eval.prompt import Image, digest
from kosmos_eval.rices import PictureIndex, nearest_pictures, pictures_of, rounded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kosmos_eval.cell import Cell

VERSION = 1
"""Of how vectors are made; part of an index's fingerprint."""
_TOGETHER = 64
"""Vectors that are written to the disk at once."""

_TABLES = """
CREATE TABLE IF NOT EXISTS vectors (content BLOB PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS files (look BLOB PRIMARY KEY, content BLOB NOT NULL);
"""
_KNOWN = "SELECT content FROM files JOIN vectors USING (content) WHERE look = ?"

Counting = Callable[[int, int], None]
"""(pictures done, pictures in all)."""


def indexed(cell: Cell, model: Model, progress: Counting) -> PictureIndex:
    """The index that a cell's demonstrations are chosen by; made where its pictures have no vectors yet.

    Raises UsageError where there is no embedder, ImageError for a picture of the pool that cannot be read. One of a
    query that cannot be read has no neighbours: the model says what is wrong with it, and the sample counts as failed.
    """
    embedder = _embedder(cell, model)
    with VectorCache(embedder).opened() as cache:
        pool = pictures_of(cell.pool, cell.task.name)
        queries = pictures_of(cell.samples, cell.task.name)
        contents: dict[Image, bytes] = {}
        for done, image in enumerate(pool, start=1):
            contents[image] = cache.content(image)
            progress(done, len(pool) + len(queries))
        for done, image in enumerate(queries, start=len(pool) + 1):
            with suppress(ImageError):
                contents[image] = cache.content(image)
            progress(done, len(pool) + len(queries))
        keys = sorted({contents[image] for image in pool})
        numbers = {key: number for number, key in enumerate(keys)}
        asked = sorted({contents[image] for image in queries if image in contents})
        own = [numbers.get(key, -1) for key in asked]
        nearest = dict(zip(asked, nearest_pictures(cache.vectors(asked), own, cache.vectors(keys)), strict=True))
    return PictureIndex(
        digest([VERSION, cache.embedder, [key.hex() for key in keys]]),
        embedder.name,
        {image: numbers[contents[image]] for image in pool},
        {image: nearest[contents[image]] for image in queries if image in contents},
    )


def _embedder(cell: Cell, model: Model) -> Embedder:
    found: object = model
    if cell.embedder is not None:
        from kosmos_eval.models import model_for_run

        try:
            found = model_for_run(cell.embedder)
        except CheckpointError as error:  # not the run's own: no fault of the other cells
            raise UsageError(f"--demos {cell.demos}: {error}") from None
    if not isinstance(found, Embedder):
        raise UsageError(NO_TOWER.format(name=getattr(found, "name", found)))
    return found


class VectorCache:
    """The vectors of one embedder, on the disk: `<cache>/vectors/<fingerprint>.sqlite`.

    Keyed by the content of pixels, so that a picture is embedded once, whatever data set, split or limit it comes in.
    Each is embedded alone: its vector depends on no other picture, hence on no batch size. What a file's picture is, is
    remembered by the file's path, size and time.
    """

    def __init__(self, embedder: Embedder, root: Path | None = None) -> None:
        self._model = embedder
        self.embedder = digest([embedder.fingerprint, str(embedder.info["dtype"])])
        self.path = (root or cache_root() / "vectors") / f"{self.embedder}.sqlite"
        self._new = 0

    @contextmanager
    def opened(self) -> Iterator[VectorCache]:
        """Opens the file, made if need be, and keeps what is new in it. Raises StoreError where it cannot be used."""
        with storing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._base = sqlite3.connect(self.path, timeout=60)
            try:
                self._base.executescript(_TABLES)
                yield self
            finally:
                self._base.commit()
                self._base.close()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be used ({error}); remove it, and it is made again") from None

    def content(self, image: Image) -> bytes:
        """A hash of the picture's pixels; afterwards there is a vector for it. Raises ImageError."""
        look = _look(image)
        known = self._base.execute(_KNOWN, (look,)).fetchone()
        if known is not None:
            return bytes(known[0])
        picture = load_image(image)
        content = hashlib.blake2b(f"{picture.size}".encode() + picture.tobytes(), digest_size=16).digest()
        if self._base.execute("SELECT 1 FROM vectors WHERE content = ?", (content,)).fetchone() is None:
            vector = rounded(self._model.embed_images([Image(image.name, pil=picture)]).numpy())[0]
            self._base.execute("INSERT OR IGNORE INTO vectors VALUES (?, ?)", (content, vector.tobytes()))
        if look is not None:
            self._base.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (look, content))
        self._new += 1
        if self._new % _TOGETHER == 0:
            self._base.commit()
        return content

    def vectors(self, contents: Iterable[bytes]) -> NDArray[np.float32]:
        """(contents, width), in their order."""
        import numpy as np

        find = "SELECT vector FROM vectors WHERE content = ?"
        rows = [np.frombuffer(self._base.execute(find, (key,)).fetchone()[0], np.float32) for key in contents]
        return np.stack(rows) if rows else np.empty((0, 0), np.float32)


def _look(image: Image) -> bytes | None:
    """A hash of where a picture is and of its file's size and time; None for one that is in memory, or not there."""
    if image.path is None:
        return None
    try:
        status = os.stat(image.path)
    except (OSError, ValueError):
        return None
    told = f"{image.path.resolve()}\0{image.record}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).digest()
