"""`data check`: is a benchmark's folder whole? What is there, against what the official release has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kosmos_eval.data.images import load
from kosmos_eval.errors import DataError, ImageError
from kosmos_eval.prompt import Image
from kosmos_eval.task import MARKERS, Sample, Task

Progress = Callable[[str, int, int], None]
"""Called with the split, the number of images looked at, and how many there are."""


@dataclass(frozen=True, slots=True)
class SplitReport:
    """One split. `labels` counts what it is balanced by: labels, else groups such as VQA's answer types."""

    split: str
    samples: int = 0
    official: int | None = None
    unanswered: int = 0
    """Samples without a target: these can be predicted, not scored."""
    labels: Mapping[str, int] = field(default_factory=dict)
    images: int = 0
    unreadable: tuple[str, ...] = ()
    """One line for each image that is missing or cannot be decoded."""
    error: str | None = None
    """Why the split cannot be read at all."""

    @property
    def present(self) -> bool:
        return self.samples > 0

    @property
    def complete(self) -> bool:
        """Whether everything official is there and readable."""
        counted = self.official is None or self.samples == self.official
        return self.present and counted and self.error is None and not self.unreadable

    @property
    def note(self) -> str:
        """The state in words, for a table."""
        if self.error is not None:
            return self.error
        if not self.present:
            return "not there"
        notes = []
        if self.official is not None and self.samples != self.official:
            notes.append(f"{self.samples} of {self.official} official samples")
        if self.unreadable:
            notes.append(f"{len(self.unreadable)} of {self.images} images missing or unreadable")
        if self.unanswered:
            notes.append(f"{self.unanswered} samples without an answer: predict only")
        return "; ".join(notes) or "complete"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """A benchmark's folder: splits in the official order, those that are not there included."""

    task: str
    data: Path
    label: str
    """`mini`, `re-rendered`, `local`, or where on the hub it is from."""
    layout: str
    """Where files go."""
    splits: tuple[SplitReport, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Splits that are not there."""
        return tuple(s.split for s in self.splits if not s.present and s.error is None)

    @property
    def usable(self) -> bool:
        """Whether something can be run: a split is there and nothing that is there is broken."""
        broken = any(s.error is not None or s.unreadable for s in self.splits)
        return any(s.present for s in self.splits) and not broken


def check(task: type[Task], data: Path, *, decode: bool = True, progress: Progress | None = None) -> CheckReport:
    """Reads every split of a folder and, with `decode`, every image of it once.

    Broken splits and images are part of the report. Raises DataError only where the folder itself is not there, or
    where its files cannot even be told apart.
    """
    opened = task(data)
    there = opened.available_splits()
    names = [*task.official_counts, *(s for s in there if s not in task.official_counts)]
    official = opened.expected_counts() if opened.data_label not in MARKERS.values() else {}
    reports = [
        _check_split(opened, name, official.get(name), decode, progress)
        if name in there
        else SplitReport(name, official=official.get(name))
        for name in names
    ]
    return CheckReport(task.name, data, opened.data_label, task.layout, tuple(reports))


def _check_split(task: Task, split: str, official: int | None, decode: bool, progress: Progress | None) -> SplitReport:
    try:
        samples = task.load(split)
    except DataError as error:
        return SplitReport(split, official=official, error=str(error))
    images = distinct_images(samples)
    unreadable = tuple(unreadable_images(images, split, progress)) if decode else ()
    return SplitReport(
        split,
        samples=len(samples),
        official=official,
        unanswered=sum(s.target is None for s in samples),
        labels=dict(sorted(Counter(name for s in samples if (name := s.label or s.group)).items())),
        images=len(images),
        unreadable=unreadable,
    )


def distinct_images(samples: Iterable[Sample]) -> list[Image]:
    """Every image of the samples once, candidates included."""
    return list(dict.fromkeys(i for s in samples for i in (*s.images, *s.candidates.values())))


def unreadable_images(images: list[Image], split: str = "", progress: Progress | None = None) -> list[str]:
    """The error of each image that cannot be decoded."""
    errors = []
    for number, image in enumerate(images, start=1):
        try:
            load(image)
        except ImageError as error:
            errors.append(str(error))
        if progress:
            progress(split, number, len(images))
    return errors
