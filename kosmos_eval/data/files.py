"""Careful reading of JSON and text files: what is wrong with one is an error naming the file, the record and the field.

Readers of the official layouts go through `Record`, so that a check is written once.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kosmos_eval.errors import DataError

MAX_FILE_BYTES = 4 * 2**30
"""No official file comes near this; what is larger is not one of them."""

MAX_TEXT = 100_000
"""No question, caption or transcript has this many characters."""

_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_KINDS = {str: "text", int: "a whole number", list: "a list", dict: "an object", bool: "true or false"}

T = TypeVar("T")


def expect(value: Any, kind: type[T], where: str) -> T:
    """The value, if it is of the kind; `where` opens the error message otherwise."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DataError(f"{where}: expected {_KINDS[kind]}, found {_shown(value)}")
    return value


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON object and where it stands. Each method is a field of a stated type, or a DataError that names it."""

    file: Path
    place: str
    values: Mapping[str, Any]

    @property
    def where(self) -> str:
        return f"{self.file}: {self.place}" if self.place else str(self.file)

    def error(self, message: str) -> DataError:
        """An error about this record, to be raised."""
        return DataError(f"{self.where}: {message}")

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(key) is not None

    def field(self, key: str, kind: type[T]) -> T:
        """A field of one of the kinds of JSON."""
        value = self.values.get(key)
        if type(value) is kind:  # the fast path: VQAv2's annotations hold millions of fields
            return value
        if key not in self.values:
            there = ", ".join(repr(name) for name in [*self.values][:8])[:200]
            raise self.error(f"has no field {key!r} (its fields: {there or 'none'})")
        return expect(self.values[key], kind, f"{self.where}, field {key!r}")

    def text(self, key: str, *, blank: bool = False) -> str:
        """A text that can be shown and tokenised; an empty one only if `blank` allows it."""
        value = self.field(key, str)
        if value.isascii() and len(value) < MAX_TEXT and "\0" not in value and (blank or value.strip()):
            return value
        return checked_text(value, f"{self.where}, field {key!r}", blank=blank)

    def line(self, key: str) -> str:
        """A text on one line: outer blanks go and inner runs of them become one, as a prompt wants it."""
        return " ".join(self.text(key).split())

    def integer(self, key: str, low: int = 0, high: int = 2**53) -> int:
        """A whole number within bounds."""
        value = self.field(key, int)
        if not low <= value <= high:
            raise self.error(f"field {key!r} is {_shown(value)}, not in {low}..{high}")
        return value

    def identifier(self, key: str) -> str:
        """An id, which official files write as a number or as a text; always a text here."""
        if isinstance(self.values.get(key), str):
            return self.text(key)
        return str(self.integer(key, low=-(2**53)))

    def records(self, key: str) -> list[Record]:
        """A list of objects."""
        rows = self.field(key, list)
        if not rows:
            raise self.error(f"field {key!r} is empty")
        place = f"{self.place}.{key}" if self.place else key
        return [_row(self.file, f"{place}[{k}]", row) for k, row in enumerate(rows)]

    def column(self, key: str, name: str, *, blank: bool = False) -> list[str]:
        """The text `name` of each of a list of objects. What is wrong is told as `records` and `text` tell it.

        Sound rows, of which VQAv2's annotations hold millions, cost no object of their own.
        """
        rows = self.field(key, list)
        try:
            values = [row[name] for row in rows]
            together = "".join(values)
        except (TypeError, KeyError):  # not objects, not texts, not there: told below
            together = "\0"
        if not together.isascii() or "\0" in together or len(together) >= MAX_TEXT or not rows:
            return [row.text(name, blank=blank) for row in self.records(key)]
        if not blank and not all(value.strip() for value in values):
            return [row.text(name) for row in self.records(key)]
        return values

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        where = f"{self.where}, field {key!r}"
        rows = self.field(key, list)
        return [checked_text(expect(v, str, f"{where}[{k}]"), f"{where}[{k}]") for k, v in enumerate(rows)]


def checked_text(value: str, where: str, *, blank: bool = False) -> str:
    """The text, if it can be shown and tokenised."""
    if not blank and not value.strip():
        raise DataError(f"{where}: is blank")
    if len(value) > MAX_TEXT:
        raise DataError(f"{where}: has {len(value)} characters, more than any text of this kind ({MAX_TEXT})")
    if "\0" in value:
        raise DataError(f"{where}: holds a NUL character")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(f"{where}: holds half a character (a lone surrogate) at {error.start}") from None
    return value


def read_bytes(path: Path) -> bytes:
    """The content of a regular file of sane size."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: is not a file")
        if status.st_size > MAX_FILE_BYTES:
            raise DataError(f"{path}: has {status.st_size} bytes, more than any official file ({MAX_FILE_BYTES})")
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def read_text(path: Path) -> str:
    """The content of a UTF-8 file without a byte order mark."""
    raw = read_bytes(path)
    if raw.startswith(_BOMS):
        raise DataError(f"{path}: begins with a byte order mark; save it as plain UTF-8")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line}: not UTF-8 at byte {error.start}") from None


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not blank, with their numbers from 1."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


def read_object(path: Path) -> Record:
    """A JSON file that holds one object."""
    return _row(path, "", _parsed(read_text(path), str(path)))


def read_list(path: Path) -> list[Record]:
    """A JSON file that holds a list of objects."""
    rows = expect(_parsed(read_text(path), str(path)), list, str(path))
    if not rows:
        raise DataError(f"{path}: the list is empty")
    return [_row(path, f"[{k}]", row) for k, row in enumerate(rows)]


def read_jsonl(path: Path) -> Iterator[Record]:
    """A file of one JSON object a line."""
    empty = True
    for number, line in read_lines(path):
        empty = False
        yield _row(path, f"line {number}", _parsed(line, f"{path}: line {number}"))
    if empty:
        raise DataError(f"{path}: is empty")


def by_id(records: Iterable[Record], key: str) -> dict[str, Record]:
    """Records by one of their fields, which no two may share."""
    found: dict[str, Record] = {}
    for record in records:
        name = record.identifier(key)
        if name in found:
            raise record.error(f"{key} {name!r} is also that of {found[name].place}")
        found[name] = record
    return found


def _row(file: Path, place: str, value: Any) -> Record:
    if not isinstance(value, dict):
        expect(value, dict, f"{file}: {place}" if place else str(file))
    return Record(file, place, value)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{where}: not valid JSON at {at} ({error.msg}); is the download complete?") from None
    except RecursionError:
        raise DataError(f"{where}: nested too deeply to be a data file") from None
    except ValueError as error:  # raised below, or by int() on thousands of digits
        raise DataError(f"{where}: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuses an object that has a key twice, where Python's json would silently keep the last value."""
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"an object has the key {next(k for k in keys if keys.count(k) > 1)!r} twice")
    return value


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _shown(value: Any) -> str:
    """A value, short enough for a one-line message."""
    if isinstance(value, (list, dict)):
        return f"{_KINDS[type(value)]} of {len(value)}"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    shown = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a huge number"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
