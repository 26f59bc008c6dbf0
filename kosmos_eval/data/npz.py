"""Arrays inside .npz archives (RAVEN's puzzles), looked at before they are unpacked and never unpickled."""

from __future__ import annotations

import stat
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import DataError

if TYPE_CHECKING:
    import numpy as np

MAX_ARRAY_BYTES = 2**28
"""A puzzle has 0.4 MB; an archive may claim anything."""


def read_array(path: Path, name: str) -> np.ndarray[Any, Any]:
    """One array of an archive. Raises DataError naming the file and the array. Do not write to what it returns."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: is not a file")
    return _unpacked(path, name, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=16)  # the panels of a puzzle are asked for one after the other
def _unpacked(path: Path, name: str, _mtime: int, _size: int) -> np.ndarray[Any, Any]:
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(f"{name}.npy")
            if entry.file_size > MAX_ARRAY_BYTES:
                raise DataError(f"{path}: array {name!r} has {entry.file_size} bytes, more than any puzzle")
            with archive.open(entry) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
    except DataError:
        raise
    except KeyError:
        raise DataError(f"{path}: has no array {name!r}") from None
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds for broken archives
        raise DataError(f"{path}: array {name!r} cannot be read ({_short(error)})") from None
    array.setflags(write=False)
    return array


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:120]
