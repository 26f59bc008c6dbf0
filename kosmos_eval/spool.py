"""A list that lies on the disk once it is long, so that a split of any size takes little memory.

The file has no name and ends with the process: nobody else can write what is unpickled here.
"""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Generic, TypeVar, overload

from kosmos_eval.disk import storing

IN_MEMORY = 50_000
"""A list of so many items is kept as it is."""
CHUNK = 128
"""Items that are written and read together."""

T = TypeVar("T")


class Spool(Sequence[T], Generic[T]):
    """An immutable sequence of what can be pickled. Going through it reads the disk; so does one item, with its chunk.

    Raises StoreError where the folder for temporary files (`TMPDIR`) is full.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._recent: list[T] = []
        self._offsets = array("Q")
        self._length = 0
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="kosmos-eval-")  # noqa: SIM115 (kept open)
        chunk: list[T] = []
        for item in items:
            chunk.append(item)
            if len(chunk) == CHUNK:
                self._put(chunk)
                chunk = []
        self._put(chunk)
        self._loaded = -1

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        for number in range(len(self._offsets)):
            yield from self._chunk(number)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        if index < 0:
            index += self._length
        if not 0 <= index < self._length:
            raise IndexError(index)
        number = index // CHUNK
        if number != self._loaded:
            self._recent, self._loaded = self._chunk(number), number
        return self._recent[index % CHUNK]

    def _put(self, chunk: list[T]) -> None:
        if chunk:
            with storing(Path(tempfile.gettempdir(), "a temporary file")):
                self._offsets.append(self._file.tell())
                pickle.dump(chunk, self._file, protocol=pickle.HIGHEST_PROTOCOL)
                self._file.flush()
            self._length += len(chunk)

    def _chunk(self, number: int) -> list[T]:
        self._file.seek(self._offsets[number])
        return pickle.load(self._file)


def spooled(items: Iterable[T]) -> Sequence[T]:
    """The items as a list, or as a spool where there are many."""
    iterator = iter(items)
    first: list[T] = []
    for item in iterator:
        first.append(item)
        if len(first) > IN_MEMORY:
            return Spool(_both(first, iterator))
    return first


def _both(first: list[T], rest: Iterator[T]) -> Iterator[T]:
    first.reverse()
    while first:
        yield first.pop()
    yield from rest
