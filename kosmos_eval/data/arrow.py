"""Pictures inside Arrow files, as `datasets` keeps them: looked up by column and row, without reading the rest."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_PICTURE_BYTES = 2**28
"""A compressed photograph has a few MB; a file may claim anything."""


def row_count(path: Path) -> int:
    """How many rows an Arrow file holds. Raises DataError where it cannot be read."""
    return int(_table(path).num_rows)


def picture_bytes(path: Path, column: str, row: int) -> bytes:
    """The encoded picture of a row, as it was uploaded. Raises DataError naming the file, the column and the row."""
    where = f"{path}: column {column!r}, row {row}"
    table = _table(path)
    if column not in table.column_names:
        raise DataError(f"{path}: has no column {column!r} (columns: {', '.join(table.column_names)})")
    if row >= table.num_rows:
        raise DataError(f"{where}: the file has {table.num_rows} rows")
    return encoded(table[column][row].as_py(), where)


def encoded(value: Any, where: str) -> bytes:
    """The encoded picture in a value as `datasets` keeps them; `where` opens the error messages."""
    raw = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(raw, bytes):
        raise DataError(f"{where}: holds no picture, only {'a path' if isinstance(value, (dict, str)) else 'a value'}")
    if len(raw) > MAX_PICTURE_BYTES:
        raise DataError(f"{where}: {len(raw)} bytes, more than a picture may have ({MAX_PICTURE_BYTES})")
    return raw


def _table(path: Path) -> pa.Table:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    return _mapped(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)  # a map of a file, not its content: VQAv2's validation has dozens of files
def _mapped(path: Path, _mtime: int, _size: int) -> Any:
    import pyarrow as pa

    try:
        return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not an Arrow file ({' '.join(str(error).split())[:120]})") from None
