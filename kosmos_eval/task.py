"""Samples and tasks: what a benchmark is. A task plugin is one small subclass of `Task` beside one YAML of prompts."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kosmos_eval.disk import is_storable
from kosmos_eval.errors import DataError, UsageError, nearest
from kosmos_eval.prompt import Image
from kosmos_eval.request import Choice
from kosmos_eval.spool import spooled

if TYPE_CHECKING:
    from kosmos_eval.metrics import Metric

MARKERS = {"KOSMOS_EVAL_MINI.json": "mini", "KOSMOS_EVAL_RERENDERED.json": "re-rendered"}
"""Files that say what made a data folder; results made from it carry the label."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One item of a benchmark.

    `fields` are the variables its prompts may use; `answer` is what a demonstration shows, with its leading space;
    `target` is what metrics compare with; `label` stratifies `--limit` and `--demos balanced`; `group` splits a metric
    (VQA's answer type); `candidates` are images to choose from, by name; `choices` are answers of the sample's own,
    which `score: answers` weighs instead of the task's.
    """

    id: str
    images: tuple[Image, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    target: Any = None
    answer: str = ""
    label: str | None = None
    group: str | None = None
    candidates: Mapping[str, Image] = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()

    def __reduce__(self) -> tuple[type[Sample], tuple[Any, ...]]:
        """Pickled without a look at its fields' definitions: a large split is written and read so (see `spool`)."""
        return Sample, (self.id, self.images, self.fields, self.target, self.answer, self.label, self.group,
                        self.candidates, self.choices)  # fmt: skip


class Task(ABC):
    """A benchmark: how its official files become samples, its answers and its metrics.

    A subclass states `name`, `splits` (which split is evaluated and which one demonstrations come from), `metrics`, and
    `answers` if it is scored, and implements `read`.
    """

    name: ClassVar[str]
    answers: ClassVar[tuple[str, ...]] = ()
    splits: ClassVar[Mapping[str, str]] = {"eval": "test", "demos": "train"}
    metrics: ClassVar[tuple[Metric, ...]] = ()
    official_counts: ClassVar[Mapping[str, int]] = {}
    results_keys: ClassVar[tuple[str, str] | None] = None
    """What the benchmark's results files call a sample's id and its answer; without, they are JSON lines of ours."""
    layout: ClassVar[str] = ""
    """What `data check` says about where the files go."""

    def __init__(self, data: Path, split: str | None = None) -> None:
        self.data = data
        if isinstance(self.answers, str):  # its letters would be weighed
            raise UsageError(f"{self.name}: answers is one text; a tuple of one needs its comma: ({self.answers!r},)")
        if not data.is_dir():
            raise DataError(f"{data}: no such folder; it should hold the files of {self.name}: {self.layout}")
        self.split = split or self.default_split()

    @abstractmethod
    def read(self, data: Path, split: str) -> Iterable[Sample]:
        """Yields the samples of a split from a folder in the official layout.

        Raises DataError naming the file and the record for anything missing or malformed.
        """

    def available_splits(self) -> list[str]:
        """The splits that the data folder holds; a task that can tell overrides this."""
        return sorted(set(self.splits.values()))

    def expected_counts(self) -> Mapping[str, int]:
        """What `data check` counts against; a task whose data comes in several editions overrides this."""
        return self.official_counts

    def default_split(self) -> str:
        """The split to evaluate; where the data holds one other split only, that one."""
        there = self.available_splits()
        wanted = self.splits["eval"]
        return wanted if wanted in there or len(there) != 1 else there[0]

    def demonstration_split(self) -> str:
        """The split that demonstrations come from, if it is there."""
        return self.splits.get("demos", self.split)

    @property
    def data_label(self) -> str:
        """`mini`, `re-rendered`, or `local` for files the user brought."""
        return next((label for marker, label in MARKERS.items() if (self.root() / marker).is_file()), "local")

    def root(self) -> Path:
        """The folder that is read: the data folder; a task whose archive makes a folder inside it overrides this."""
        return self.data

    @cached_property
    def samples(self) -> Sequence[Sample]:
        """The samples of the evaluated split, checked, in file order. A large split lies on the disk (see `spool`)."""
        return self.load(self.split)

    def load(self, split: str) -> Sequence[Sample]:
        """Reads and checks a split. Raises UsageError for an unknown one, DataError for missing or malformed data."""
        known = self.available_splits()
        if split not in known and split in self.official_counts:
            raise DataError(f"{self.data}: split {split!r} of {self.name} is not there; expected {self.layout}")
        if split not in known:
            raise UsageError(f"{self.name}: no split {split!r} in {self.data}{nearest(split, known)}")
        samples = spooled(self._checked(split))
        if not samples:
            raise DataError(f"{self.data}: split {split!r} of {self.name} has no samples; expected {self.layout}")
        return samples

    def _checked(self, split: str) -> Iterator[Sample]:
        seen: set[str] = set()
        try:
            for sample in self.read(self.data, split):
                if (wrong := _not_an_id(sample.id)) is not None:
                    raise DataError(f"{self.data}: split {split!r} of {self.name}: {wrong}")
                if sample.id in seen:
                    raise DataError(f"{self.data}: split {split!r} of {self.name} has sample id {sample.id!r} twice")
                seen.add(sample.id)
                if split == self.split and (why := self._objection(sample)):
                    raise DataError(f"{self.data}: sample {sample.id!r} of split {split!r} of {self.name} {why}")
                yield sample
        except OSError as error:  # a folder that may not be listed, a disk that fails
            raise DataError(f"{error.filename or self.data}: cannot be read ({error.strerror or error})") from None

    def _objection(self, sample: Sample) -> str | None:
        """Why one of the metrics could never credit an answer to a sample."""
        found = (metric.objection(sample.target) for metric in self.metrics)
        if why := next((why for why in found if why is not None), None):
            return why
        answers = tuple(choice.name for choice in sample.choices) or self.answers
        if not answers or not isinstance(sample.target, str) or not any(m.to_the_letter for m in self.metrics):
            return None
        if sample.target.strip() in {answer.strip() for answer in answers}:
            return None
        return f"has the target {sample.target!r}; target is none of the answers {', '.join(map(repr, answers))}"

    def demonstration_pool(self) -> tuple[Sequence[Sample], bool]:
        """Samples to draw demonstrations from, and whether they are of the evaluated split for want of another."""
        wanted = self.demonstration_split()
        if wanted != self.split and wanted in self.available_splits():
            return require_targets(self, self.load(wanted), wanted), False
        return require_targets(self, self.samples, self.split), True


def require_targets(task: Task, samples: Sequence[Sample], split: str) -> Sequence[Sample]:
    """The samples, if their answers are known: test splits are published without, and can be predicted but not scored.

    Raises DataError naming the first sample that has none.
    """
    for sample in samples:
        if sample.target is None:
            raise DataError(
                f"{task.data}: sample {sample.id!r} of split {split!r} of {task.name} has no published answer: "
                "it can be predicted, but neither scored nor shown as a demonstration; use another split"
            )
    return samples


def data_fingerprint(samples: Iterable[Sample]) -> str:
    """A hash of what was read: ids, targets, fields and image names, in any order; no pixels.

    A sample's own choices are made from its fields, and are not hashed again. Raises DataError for what no file can
    hold (NaN), before anything is asked.
    """
    each = sorted(hashlib.blake2b(_plain_json(s).encode(), digest_size=16).digest() for s in samples)
    return hashlib.blake2b(b"".join(each), digest_size=8).hexdigest()


def _not_an_id(value: object) -> str | None:
    """Why a value cannot be a sample's id in a file; None where it can."""
    if not isinstance(value, str):
        return f"the id {value!r} is of type {type(value).__name__}; make it a text: str(...)"
    if not is_storable(value):
        return f"the id {value!r} holds half of a surrogate pair, which no file can hold"
    return None


def _plain_json(s: Sample) -> str:
    candidates = {name: image.name for name, image in s.candidates.items()}
    plain = [s.id, [i.name for i in s.images], dict(s.fields), s.target, s.answer, candidates]
    try:
        return json.dumps(plain, sort_keys=True, default=str, allow_nan=False)
    except ValueError:
        raise DataError(f"sample {s.id!r}: a field or its target holds NaN or infinity; use None") from None
