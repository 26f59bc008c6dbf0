"""What the files behind a request's pictures are: a picture that is replaced under its old name is asked about again.

A plan needs no pixels, so the key of a response holds the pictures' names. Beside the response two hashes are kept: of
the files' sizes and times, which costs nothing to compare, and of their contents, which is looked at where the first
differs (a folder that was copied or downloaded again has new times and the old contents).
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from kosmos_eval.request import Request, images_of

Files = tuple[str, str]
"""(hash of sizes and times, hash of contents)."""


def files_of(request: Request) -> Files | None:
    """Both hashes; None for a request without pictures, or with one that is not there."""
    looks, contents = look_of(request), content_of(request)
    return None if looks is None or contents is None else (looks, contents)


def look_of(request: Request) -> str | None:
    """A hash of the sizes and times of the files; None where there is none, or where one is missing."""
    return _joined([_look(path) for path in _paths(request)])


def content_of(request: Request) -> str | None:
    """A hash of the contents of the files; None where there is none, or where one cannot be read."""
    return _joined([_content(path, _look(path)) for path in _paths(request)])


def _paths(request: Request) -> list[Path]:
    return [image.path for image in images_of(request) if image.path is not None]


def _joined(parts: list[bytes | None]) -> str | None:
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    return hashlib.blake2b(b"".join(known), digest_size=8).hexdigest()


def _look(path: Path) -> bytes | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return b"%d %d;" % (status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 14)  # the pictures of demonstrations come with every request
def _content(path: Path, _look: bytes | None) -> bytes | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except (OSError, ValueError):
        return None
