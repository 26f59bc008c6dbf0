"""A run's folder: its manifest and append-only responses, committed unit by unit (see `responses`).

- `run.json`         the manifest
- `samples.jsonl`    the ids, targets and groups that were asked about: what scoring needs, so that it needs no data
- `references.json`  the references of the whole split, where a metric counts over them
- `responses.jsonl`  one line per response, appended
- `rationales.jsonl` the model's own rationales for demonstrations, likewise
- `scores.json`, `per_sample.jsonl`  computed from the above, at any time again
- `scores_history.jsonl`  what `scores.json` said before
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

from kosmos_eval.disk import replace_file, storing, write_json
from kosmos_eval.errors import DataError, KosmosEvalError
from kosmos_eval.manifest import MANIFEST, Manifest
from kosmos_eval.record import Record
from kosmos_eval.responses import Appender, Index, Key, committed

__all__ = ["RATIONALES", "RESPONSES", "Appender", "Index", "Key", "RunBusyError", "RunFolder"]

RESPONSES, RATIONALES = "responses.jsonl", "rationales.jsonl"
SAMPLES, REFERENCES = "samples.jsonl", "references.json"
SCORES, PER_SAMPLE = "scores.json", "per_sample.jsonl"
HISTORY = "scores_history.jsonl"

AGAIN = "remove it, and the same `run` command makes it again"
"""What to do about a damaged file that is computed from others."""

_REPLACED = ("scores", "metrics", "made_by")
"""Of `scores.json`, what is not lost when it says something else."""
_FIGURE = frozenset(("metric", "value", "n", "reason", "primary", "stderr"))
_SAMPLE = frozenset(("id", "prompt_hash", "target", "group", "label", "fields", "images"))


class RunBusyError(KosmosEvalError):
    """Another process is writing this run."""


class RunFolder:
    """Reads and writes one run's files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        return (self.path / MANIFEST).is_file()

    def manifest(self) -> Manifest:
        return Manifest.read(self.path)

    def records(self, file: str = RESPONSES) -> dict[Key, Record]:
        """All responses by key, in memory; the last one of a key counts. `index` is for large runs."""
        return {record.key: record for record in self.each_record(file)}

    def each_record(self, file: str = RESPONSES) -> Iterator[Record]:
        """The committed lines of a response file, one at a time, as they stand: keys may recur."""
        return (record for _, record in committed(self.path / file))

    def index(self, file: str = RESPONSES) -> Index:
        """Where the responses stand: finds one by its key without holding them in memory."""
        return Index(self.path / file)

    def samples(self) -> list[dict[str, Any]]:
        """What was asked about, in the order of the data."""
        return list(self.each_sample())

    def each_sample(self, count: int | None = None) -> Iterator[dict[str, Any]]:
        """The same, one at a time. Raises DataError in the end where there are not `count` of them."""
        found = 0
        for row in self._jsonl(SAMPLES, _is_sample):
            found += 1
            yield row
        if count is not None and found != count:
            raise DataError(f"{self.path / SAMPLES}: holds {found} of the run's {count} samples; {AGAIN}")

    def write_samples(self, rows: Iterable[Mapping[str, Any]]) -> None:
        replace_file(self.path / SAMPLES, map(_sample_line, rows))

    def has_samples(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Whether these are the ones that are written, and their values are there."""
        path = self.path / SAMPLES
        if not path.is_file() or not (self.path / PER_SAMPLE).is_file():
            return False
        with path.open("rb") as lines:
            pairs = zip_longest(lines, map(_sample_line, rows))
            return all(line is not None and row is not None and line == row.encode() for line, row in pairs)

    def references(self) -> dict[str, list[str]] | None:
        """The split's references by sample id, where some metric counts over them."""
        found: dict[str, list[str]] | None = self._json(REFERENCES, _are_references, "a split's references")
        return found

    def write_references(self, references: Mapping[str, Sequence[str]]) -> None:
        write_json(self.path / REFERENCES, dict(references))

    def scores(self) -> dict[str, Any] | None:
        """What `scores.json` says; None before there is one."""
        found: dict[str, Any] | None = self._json(SCORES, _is_scores, "a run's scores")
        return found

    def write_scores(self, scores: Mapping[str, Any], per_sample: Iterable[Mapping[str, Any]]) -> None:
        """Replaces the scores; what they replace is kept in the history, unless it is the same. Call it locked."""
        old = self.scores()
        if old is not None and any(old.get(name) != scores.get(name) for name in _REPLACED):
            path = self.path / HISTORY
            before = path.read_text(encoding="utf-8") if path.is_file() else ""
            replace_file(path, before + json.dumps(old, ensure_ascii=False, allow_nan=False) + "\n")
        lines = (json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n" for row in per_sample)
        replace_file(self.path / PER_SAMPLE, lines)
        write_json(self.path / SCORES, scores)

    def per_sample(self) -> dict[str, dict[str, float]]:
        """The metrics' values by sample id."""
        return dict(self.each_per_sample())

    def each_per_sample(self) -> Iterator[tuple[str, dict[str, float]]]:
        """The same, one sample at a time."""
        return ((row["id"], row["values"]) for row in self._jsonl(PER_SAMPLE, _is_valued))

    def _json(self, name: str, is_right: Callable[[Any], bool], what: str) -> Any:
        """What a JSON file of the run holds; None where there is none. Raises DataError for a damaged one."""
        path = self.path / name
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            found = None
        if not is_right(found):
            raise DataError(f"{path}: not {what}; {AGAIN}")
        return found

    def _jsonl(self, file: str, fits: Callable[[Any], bool]) -> Iterator[dict[str, Any]]:
        path, number = self.path / file, 0
        try:
            with path.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, start=1):
                    row = json.loads(line)
                    if not fits(row):
                        raise DataError(f"{path}, line {number}: not a sample's; {AGAIN}")
                    yield row
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number + 1}: not readable ({error}); {AGAIN}") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from writing this run; they get RunBusyError. A crash releases it."""
        with storing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / ".lock").open("a+")
        with file:
            _lock(file, self.path)
            yield

    def appending(self, file: str = RESPONSES) -> Appender:
        return Appender(self.path / file)


def _sample_line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=True, allow_nan=False, default=str) + "\n"


def _are_references(found: Any) -> bool:
    return isinstance(found, dict) and all(map(_are_texts, found.values()))


def _are_texts(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(text, str) for text in found)


def _is_scores(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and isinstance(found.get("scores"), list)
        and all(map(_is_figure, found["scores"]))
        and isinstance(found.get("errors"), dict)
        and all(isinstance(error, str) for error in found["errors"].values())
    )


def _is_figure(score: Any) -> bool:
    return (
        isinstance(score, dict)
        and score.keys() >= _FIGURE
        and isinstance(score["metric"], str)
        and isinstance(score["reason"], str | None)
        and isinstance(score["primary"], bool)
        and type(score["n"]) is int
        and all(score[name] is None or _is_number(score[name]) for name in ("value", "stderr"))
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_sample(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and row.keys() >= _SAMPLE
        and isinstance(row["id"], str)
        and isinstance(row["prompt_hash"], str)
        and isinstance(row["group"], str | None)
        and isinstance(row["fields"], dict)
        and isinstance(row["images"], list)
    )


def _is_valued(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("id"), str)
        and isinstance(row.get("values"), dict)
        and all(map(_is_number, row["values"].values()))
    )


def _lock(file: IO[str], folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this platform; two writers are then the user's own care
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RunBusyError(
            f"{folder}: another process is writing this run; wait for it, or use another --out"
        ) from None
