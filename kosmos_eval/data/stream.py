"""Large data sets of the hub, read where they lie: the fields of all rows first, a picture when it is asked for.

A parquet file is known by the path that it has in the hub's cache, which names data set and commit. What is there is
read there. Of what is not, the columns of the fields are fetched, and the row groups of pictures that are looked at.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from kosmos_eval.data.arrow import encoded
from kosmos_eval.errors import DataError

_CACHED = re.compile(r"/datasets--(?P<repo>[^/]+)/snapshots/(?P<commit>[^/]+)(/(?P<file>.+))?$")
_GROUPS = 2
"""Row groups whose pictures are kept: neighbours are asked for together. One has some 100 pictures."""


def filesystem() -> Any:
    """The hub as fsspec knows it."""
    from huggingface_hub import HfFileSystem

    return HfFileSystem()


def address(path: Path) -> str:
    """Where on the hub a file or folder of the hub's cache comes from. Raises DataError for any other path."""
    match = _CACHED.search(path.as_posix())
    if match is None:
        raise DataError(f"{path}: no such file")
    repo = match["repo"].replace("--", "/", 1)
    return f"datasets/{repo}@{match['commit']}" + (f"/{match['file']}" if match["file"] else "")


def listed(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """The files of a data set, as paths in the hub's cache, which need not be there."""
    root = address(folder)
    try:
        found = {name for pattern in patterns for name in filesystem().glob(f"{root}/{pattern}")}
    except Exception as error:  # the hub client's errors have no common base
        raise _unreachable(root, error) from None
    return sorted(folder / str(name).removeprefix(f"{root}/") for name in found)


def fields(path: Path, without: str) -> Any:
    """A table of all columns but that of the pictures, which is left empty."""
    import pyarrow as pa

    try:
        file = _file(path)
        table = file.read(columns=[name for name in file.schema_arrow.names if name != without])
    except DataError:
        raise
    except Exception as error:
        raise _unreachable(address(path), error) from None
    table = table.replace_schema_metadata(None)
    return table.append_column(without, pa.nulls(len(table))) if without in file.schema_arrow.names else table


def picture_bytes(path: Path, column: str, row: int) -> bytes:
    """The encoded picture of a row. Raises DataError naming the file, the column and the row."""
    try:
        ends = _ends(path)
        group = bisect_right(ends, row)
        value = _group(path, group, column)[row - (ends[group - 1] if group else 0)].as_py()
    except DataError:
        raise
    except Exception as error:
        raise _unreachable(address(path), error) from None
    return encoded(value, f"{path}: column {column!r}, row {row}")


@lru_cache(maxsize=256)
def _file(path: Path) -> Any:
    """Open; of a file on the hub its foot is fetched."""
    import pyarrow.parquet as pq

    if path.is_file():
        return pq.ParquetFile(path)
    # What pyarrow asks for is what is fetched: it joins neighbouring ranges, and nothing is read ahead.
    return pq.ParquetFile(filesystem().open(address(path), cache_type="none"), pre_buffer=True)


@lru_cache(maxsize=256)
def _ends(path: Path) -> tuple[int, ...]:
    """The row behind the last one of each row group."""
    foot = _file(path).metadata
    return tuple(accumulate(foot.row_group(group).num_rows for group in range(foot.num_row_groups)))


@lru_cache(maxsize=_GROUPS)
def _group(path: Path, group: int, column: str) -> Any:
    return _file(path).read_row_group(group, columns=[column])[column]


def _unreachable(where: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:120]
    return DataError(f"{where}: not to be had from the hub ({type(error).__name__}: {reason}); give the command again")
