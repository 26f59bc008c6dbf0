"""Image tokens on disk, so that a later run need not see the same pictures again: a cache, bounded, never trusted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kosmos_eval.errors import UsageError

FOLDER, LIMIT = "KOSMOS_EVAL_IMAGE_CACHE", "KOSMOS_EVAL_IMAGE_CACHE_GIB"
"""Environment variables: where image tokens are kept (nowhere, if it is not set), and how much room they may take."""
DEFAULT_GIB = 20.0
_NAME = "tokens"
_OWN = re.compile(r"[0-9a-f]{32}\.safetensors")


class ImageFiles:
    """A folder with a file per picture, named by the content of its pixels; the least recently used are given up first.

    Each model has a folder of its own in the root, named by what decides its image tokens: its weights and the dtype.
    Another process may write to it at the same time, or empty it. What cannot be read or written is computed as if it
    had never been kept.
    """

    def __init__(self, root: Path, model: str, limit: int) -> None:
        self.root, self.folder, self.limit = root, root / model, limit
        self._bytes: int | None = None
        """What all models' files take; None until they have been counted."""

    def get(self, key: bytes, shape: tuple[int, int]) -> Tensor | None:
        """The tokens (image tokens, width) of a picture, if they are there and whole."""
        file = self._file(key)
        try:
            tokens = load_file(file)[_NAME]
            os.utime(file)
        except (OSError, SafetensorError, KeyError):
            return None
        return tokens if tuple(tokens.shape) == shape else None

    def put(self, key: bytes, tokens: Tensor) -> None:
        """Keeps a picture's tokens, then makes room if the limit is exceeded."""
        file = self._file(key)
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file({_NAME: tokens.contiguous().cpu()}, draft)
            draft.replace(file)
        except (OSError, SafetensorError):
            with suppress(OSError):
                draft.unlink()
            return
        if self._bytes is None:
            self._make_room()
        else:
            self._bytes += tokens.nbytes
            if self._bytes > self.limit:
                self._make_room()

    def _file(self, key: bytes) -> Path:
        name = key.hex()
        return self.folder / name[:2] / f"{name}.safetensors"

    def _make_room(self) -> None:
        """Counts the files of all models; if they take too much, the oldest go until a tenth of the limit is free.

        Whatever else lies in the folder, a checkpoint for instance, is none of its business.
        """
        found: list[tuple[float, int, Path]] = []
        for file in self.root.glob("*/??/*.safetensors"):
            if _OWN.fullmatch(file.name) is None or not file.name.startswith(file.parent.name):
                continue
            with suppress(OSError):
                stat = file.stat()
                found.append((stat.st_mtime, stat.st_size, file))
        self._bytes = sum(size for _, size, _ in found)
        if self._bytes <= self.limit:
            return
        for _, size, file in sorted(found):
            if self._bytes <= 0.9 * self.limit:
                break
            with suppress(OSError):
                file.unlink()
                self._bytes -= size


def image_files(model: Callable[[], str]) -> ImageFiles | None:
    """The cache that the environment asks for, for a model by that name; None if it asks for none.

    Raises UsageError where the room it may take cannot be read.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    given = os.environ.get(LIMIT, str(DEFAULT_GIB))
    try:
        limit = float(given)
    except ValueError:
        limit = -1.0
    if not 0 < limit < float("inf"):
        raise UsageError(f"{LIMIT}={given}: give the room for image tokens in GiB, such as {LIMIT}=20")
    return ImageFiles(Path(folder).expanduser(), model(), int(limit * 2**30))
