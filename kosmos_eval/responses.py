"""A response file: one record a line, appended unit by unit.

What one work unit adds is committed together: it is written at once, and its last record says how many they are
(`commit`). What stands after the last commit is what a crash left of a unit; it does not count, and the unit is run
again whole.
"""

from __future__ import annotations

import os
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import IO

from kosmos_eval.disk import storing, sync_folder
from kosmos_eval.errors import DataError
from kosmos_eval.pictures import content_of, look_of
from kosmos_eval.record import Record
from kosmos_eval.request import Request

Key = tuple[str, str]
"""A sample's id and the hash of everything that was asked about it."""

_AGAIN = "take it out with the lines of its unit, and the same `run` command asks them again"

_ENDS_UNIT = re.compile(rb'"commit": \d+\}\n\Z')
_COMMIT = re.compile(rb'"commit": (?:\d+|null)\}\n\Z')


def committed(path: Path) -> Iterator[tuple[int, Record]]:
    """The records of a file with the byte each begins at, unit by unit; keys may recur.

    Raises DataError naming the line for damage that no crash leaves: a whole line that is no record, a unit that is not
    whole.
    """
    if not path.is_file():
        return
    unit: list[tuple[int, Record]] = []
    offset = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = Record.from_line(line.decode("ascii"))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                if line.strip() and line.endswith(b"\n"):  # what a crash leaves has no end
                    reason = " ".join(str(error).split())[:200]
                    raise DataError(
                        f"{path}, line {number}: not a response ({type(error).__name__}: {reason}); {_AGAIN}"
                    ) from None
            else:
                unit.append((offset, record))
                if record.commit is not None and line.endswith(b"\n"):
                    if record.commit != len(unit):
                        said = f"ends a unit of {record.commit} responses, but {len(unit)} are there"
                        raise DataError(f"{path}, line {number}: {said}; {_AGAIN}")
                    yield from unit
                    unit = []
            offset += len(line)


class Index:
    """Where the last committed record of each key stands. Takes 25 bytes a record, whatever the records hold."""

    def __init__(self, path: Path) -> None:
        import numpy as np

        self.path = path
        self._file: IO[bytes] | None = None
        hashes, offsets, looks, settled = array("Q"), array("Q"), array("Q"), bytearray()
        for offset, record in committed(path):
            hashes.append(_hash(record.key))
            offsets.append(offset)
            looks.append(int(record.files[0], 16) if record.files else 0)
            settled.append(record.settled)
        order = np.argsort(np.asarray(hashes), kind="stable")
        self._hashes, self._offsets, self._looks = (
            array("Q", np.asarray(values)[order].tobytes()) for values in (hashes, offsets, looks)
        )
        self._settled = np.frombuffer(bytes(settled), np.uint8)[order].tobytes()

    def __contains__(self, key: Key) -> bool:
        return self._place(key) is not None

    def settled(self, key: Key, request: Request) -> bool:
        """Whether the request has an answer that asking again could only repeat, about the pictures of now."""
        place = self._place(key)
        if place is None or not self._settled[place]:
            return False
        before, now = self._looks[place], look_of(request) if self._looks[place] else None
        if now is None or int(now, 16) == before:
            return True
        record, contents = self.record(key), content_of(request)
        return contents is None or record is None or record.files is None or record.files[1] == contents

    def record(self, key: Key) -> Record | None:
        """The key's last record, read from the file."""
        place = self._place(key)
        if place is None:
            return None
        if self._file is None:
            self._file = self.path.open("rb")
        self._file.seek(self._offsets[place])
        record = Record.from_line(self._file.readline().decode("ascii"))
        return record if record.key == key else None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _place(self, key: Key) -> int | None:
        wanted = _hash(key)
        place = bisect_right(self._hashes, wanted) - 1  # the last of equal ones was written last
        return place if place >= 0 and self._hashes[place] == wanted else None


def _hash(key: Key) -> int:
    text = "\0".join(key).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


class Appender:
    """Appends to a response file, unit by unit; first cuts off what a crash left of one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with storing(path):
            new = not path.is_file()
            if not new:
                _cut_uncommitted(path)
            self._file = path.open("ab", buffering=0)
            if new:
                sync_folder(path.parent)

    def __enter__(self) -> Appender:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def commit(self, records: Sequence[Record]) -> None:
        """Writes what a unit adds, one record at least, and returns when it is on the disk.

        Raises StoreError, with the file as it was.
        """
        lines = [record.to_line() for record in records[:-1]]
        lines.append(records[-1].to_line(commit=len(records)))
        data = "".join(lines).encode("ascii")
        before = os.fstat(self._file.fileno()).st_size
        with storing(self.path, need=len(data)):
            try:
                written = 0
                while written < len(data):
                    written += self._file.write(data[written:])
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(before)
                raise


def _cut_uncommitted(path: Path) -> None:
    """Shortens the file to its last commit."""
    end = offset = 0
    with path.open("rb") as lines:
        for line in lines:
            offset += len(line)
            if _ENDS_UNIT.search(line) or (line.endswith(b"}\n") and not _COMMIT.search(line)):
                end = offset
    if end < offset:
        with path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())
