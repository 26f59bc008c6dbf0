"""Reading a predictions file, made by someone else's program: every way it can be wrong names file and record."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kosmos_eval.disk import is_storable
from kosmos_eval.errors import DataError

ID_KEYS = ("id", "question_id", "image_id", "image")
TEXT_KEYS = ("prediction", "answer", "caption")
SCORES_KEY = "scores"

MAX_FILE_BYTES = 1 << 30
MAX_TEXT_CHARS = 100_000
"""A longer answer is a defect, and one that would keep the caption metrics busy for hours."""

_EXPECTED = (
    "a JSON list of {question_id, answer} or {image_id, caption}, or JSON lines of {id, prediction} or {id, scores}"
)
_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class RawPrediction:
    """One record of a predictions file."""

    text: str | None
    scores: Mapping[str, float] | None
    path: Path
    origin: str
    """The file and the record or line, for messages."""
    key: str
    """Which key the id stood under: `question_id`, `image_id`, `image` or `id`."""


def read_predictions(path: Path) -> dict[str, RawPrediction]:
    """The records of a predictions file by id. A doubled id is an error; so is a file without records."""
    found: dict[str, RawPrediction] = {}
    for origin, record in _records(path, _text_of(path)):
        identifier, prediction = _prediction(path, origin, record)
        if identifier in found:
            raise DataError(f"{origin}: id {short(identifier)} was there before, in {found[identifier].origin}")
        found[identifier] = prediction
    if not found:
        raise DataError(f"{path}: holds no predictions; expected {_EXPECTED}")
    return found


def short(text: object) -> str:
    """A value for a message: quoted, without control characters, not longer than a line."""
    shown = ascii(text)
    return shown if len(shown) <= _SHOWN_CHARS else shown[: _SHOWN_CHARS - 3] + "..."


def _text_of(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: not a file")
        if status.st_size > MAX_FILE_BYTES:
            raise DataError(f"{path}: {status.st_size} bytes; a predictions file has at most {MAX_FILE_BYTES}")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        # ValueError: a NUL character in the path
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line}: not UTF-8 (byte {error.start}: {error.reason})") from error


def _records(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """The records with where they stand: of a JSON list, or of JSON lines."""
    if text.lstrip().startswith("["):
        for number, record in enumerate(_parse(str(path), text), start=1):
            yield f"{path}: record {number}", record
        return
    # not `splitlines`: a JSON text may hold U+2028 and its like as they are
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            origin = f"{path}: line {number}"
            yield origin, _parse(origin, line)


def _parse(origin: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if "\n" in text else f"column {error.colno}"
        raise DataError(f"{origin}: not JSON: {error.msg} at {place}; expected {_EXPECTED}") from error
    except RecursionError as error:
        raise DataError(f"{origin}: JSON nested too deeply; expected {_EXPECTED}") from error
    except ValueError as error:
        # a doubled key, or a number of thousands of digits
        raise DataError(f"{origin}: not usable JSON: {error}") from error


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {short(key)} is there twice")
        found[key] = value
    return found


def _prediction(path: Path, origin: str, record: Any) -> tuple[str, RawPrediction]:
    if not isinstance(record, dict):
        raise DataError(f"{origin}: {_kind(record)} where a record is expected; expected {_EXPECTED}")
    key = next((key for key in ID_KEYS if key in record), None)
    if key is None:
        raise DataError(f"{origin}: has no id; expected one of {', '.join(ID_KEYS)}")
    texts = [name for name in TEXT_KEYS if name in record]
    if len(texts) > 1:
        raise DataError(f"{origin}: has both {texts[0]!r} and {texts[1]!r}; which is the prediction?")
    if not texts and SCORES_KEY not in record:
        raise DataError(f"{origin}: has no prediction; expected one of {', '.join((*TEXT_KEYS, SCORES_KEY))}")
    text = _text(origin, texts[0], record[texts[0]]) if texts else None
    scores = _scores(origin, record[SCORES_KEY]) if SCORES_KEY in record else None
    return _identifier(origin, key, record[key]), RawPrediction(text, scores, path, origin, key)


def _identifier(origin: str, key: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"{origin}: {key!r} is {_kind(value)}; expected a text or a whole number")
    if value == "":
        raise DataError(f"{origin}: {key!r} is empty")
    return _text(origin, key, str(value))


def _text(origin: str, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"{origin}: {key!r} is {_kind(value)}; expected a text")
    if len(value) > MAX_TEXT_CHARS:
        raise DataError(f"{origin}: {key!r} has {len(value)} characters; at most {MAX_TEXT_CHARS} are scored")
    if not is_storable(value):
        raise DataError(f"{origin}: {key!r} holds half of a surrogate pair, which is no text: {short(value)}")
    return value


def _scores(origin: str, value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or not value:
        kind = "empty" if value == {} else _kind(value)
        raise DataError(f"{origin}: {SCORES_KEY!r} is {kind}; expected answers with their log-probabilities")
    return {
        _text(origin, "an answer", answer): _number(f"{origin}: the score of {short(answer)}", number)
        for answer, number in value.items()
    }


def _number(origin: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{origin} is {_kind(value)}; expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise DataError(f"{origin} is not finite")
    return number


def _kind(value: Any) -> str:
    """What a JSON value is, in JSON's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    kinds = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return kinds.get(type(value), type(value).__name__)
