"""Benchmarks as data sets of the Hugging Face hub: rows become records like the official ones, read by the same code.

`--data hub` takes the data set named here for a task, `--data hub:ORG/NAME[@REVISION]` another one with the same
columns, `--data hub:FOLDER` one on the disk (`save_to_disk`, or parquet files). Only parquet and Arrow files are read:
no code of a repository is run. Pictures stay where they are, and are decoded when a model asks for them.
"""

from __future__ import annotations

import dataclasses
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, cast

from kosmos_eval.data.files import Record, checked_text, expect
from kosmos_eval.data.hub_files import IMAGE, Rows, rows_of, snapshot
from kosmos_eval.data.readers.captions import Captioned
from kosmos_eval.errors import DataError, UsageError
from kosmos_eval.prompt import Image
from kosmos_eval.task import Sample, Task

OFFICIAL_HUB, HUB, LOCAL = "official-hub", "hub", "local"
"""Labels of results: from a data set named here, from another one of the hub, from a folder."""

SENTIMENTS = ("negative", "positive")
_UNPUBLISHED = -1
_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")

ToSample = Callable[[Any, str, Record, Image], Sample]
"""(task, split, row, its picture) -> sample, by the task's own code."""


# --- what a row is called, per task -----------------------------------------------------------------------------------


def _vqav2(task: Any, split: str, row: Record, image: Image) -> Sample:
    """Every question brings its photograph along: it is called by the photograph, so that no other question on it is a
    demonstration."""
    image = dataclasses.replace(image, name=f"{image.name.rpartition('/')[0]}/{row.identifier('image_id')}")
    return _with(image, task.sample(split, row, row if row.values.get("answers") else None))


def _vizwiz(task: Any, split: str, row: Record, image: Image) -> Sample:
    """The hub keeps answers as texts, the answer type as `category`, and the image's file name as `question_id`."""
    answers = row.texts("answers") if row.values.get("answers") else []
    official = {**row.values, "answers": [{"answer": a} for a in answers], "answer_type": row.values.get("category")}
    record = dataclasses.replace(row, values=official)
    if not answers and split != "test":
        raise row.error("has no answers")
    sample_id = row.identifier("question_id")
    name = task.image_name(split, sample_id)
    return _with(image, task.make_sample(sample_id, name, record, record if answers else None, {}))


def _rendered_sst2(task: Any, split: str, row: Record, image: Image) -> Sample:
    """`label` is a number, and the data set may say what it stands for; else 0 is negative, as in CLIP's folders."""
    if "label" in row.values and not row.has("label"):
        return Sample(row.place, (image,))
    label = row.values.get("label_name") or SENTIMENTS[row.integer("label", 0, 1)]
    if label not in SENTIMENTS:
        raise row.error(f"label {label!r} is none of Rendered SST-2 ({', '.join(SENTIMENTS)})")
    return Sample(row.place, (image,), {}, f" {label}", f" {label}", label=label)


def _hateful_memes(task: Any, split: str, row: Record, image: Image) -> Sample:
    record = dataclasses.replace(row, values={**row.values, "img": image.name})
    return _with(image, task.sample(row.identifier("id"), record, row.has("label") or not split.startswith("test")))


def _flickr30k(task: Any, split: str, row: Record, image: Image) -> Sample:
    where = f"{row.where}, field 'caption'"
    captions = [checked_text(expect(c, str, where), where, blank=True) for c in row.field("caption", list)]
    name = row.text("filename")
    return cast(Sample, task.sample(Captioned(name, name, captions, row.where), image, {}))


def _with(image: Image, sample: Sample) -> Sample:
    return dataclasses.replace(sample, images=(image,))


# --- which data set a task has ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """A task's data set: the splits by the names that the benchmark and the hub give them, and how a row is read."""

    splits: Mapping[str, str]
    to_sample: ToSample
    repo: str | None = None
    revision: str | None = None
    streams: bool = False
    """Large: what is not in the hub's cache is not downloaded, but read as it is needed."""
    why_not: str = ""
    """Where there is no data set that could be used: why, and what to do."""


_SCRIPT_FREE = "refs/convert/parquet"
"""Where the hub keeps its own conversion of a data set, here of one that is published as a script."""

SOURCES: Mapping[str, Source] = {
    "vqav2": Source(
        {"val2014": "validation", "test-dev2015": "testdev", "test2015": "test"}, _vqav2, "lmms-lab/VQAv2", streams=True
    ),
    "vizwiz": Source({"val": "val", "test": "test"}, _vizwiz, "lmms-lab/VizWiz-VQA"),
    "rendered_sst2": Source(
        {"train": "train", "valid": "validation", "test": "test"}, _rendered_sst2, "nateraw/rendered-sst2"
    ),
    # All 31,014 images are in its split `test`; the column `split` tells which are Karpathy's.
    "flickr30k": Source(
        {"train": "test", "val": "test", "test": "test"}, _flickr30k, "nlphuji/flickr30k", _SCRIPT_FREE
    ),
    "hateful_memes": Source(
        {s: s for s in ("train", "dev_seen", "dev_unseen", "test_seen", "test_unseen")},
        _hateful_memes,
        why_not="the rows of neuralcatcher/hateful_memes hold paths only, and biecho/hateful_memes lacks 102 of 500 "
        "pictures of dev_seen; give the official files with --data DIR, or hub:SOURCE with the columns id, image, "
        "text and label",
    ),
}
_NOT_THERE = {
    "coco_captions": "yerevann/coco-karpathy lists pictures by URL only; download COCO and dataset_coco.json",
    "raven_iq": "no copy of IQ50 is known (HuggingFaceM4/RAVEN is another test, of 8 candidates); download the files",
}


# --- tasks over such rows ---------------------------------------------------------------------------------------------


class HubTask(Task):
    """Mixed into a task's class by `hub_task`: the samples come from rows instead of files."""

    source: ClassVar[Source]
    repo: ClassVar[str | None]

    @property
    def data_label(self) -> str:
        if self.repo is None:
            return LOCAL
        return OFFICIAL_HUB if self.repo == self.source.repo else HUB

    @cached_property
    def origin(self) -> str:
        """What the names of its pictures begin with, and so part of its fingerprint: the hub's id and the revision."""
        return "" if self.repo is None else f"{self.repo}@{self.data.name}/"

    def available_splits(self) -> list[str]:
        if self.repo is not None and self.repo == self.source.repo:
            return list(self.source.splits)
        return [split for split in self.source.splits if self._rows(split) is not None]

    def read(self, data: Path, split: str) -> Iterator[Sample]:
        found = self._rows(split)
        if found is None:
            raise DataError(f"{data}: no rows of split {split!r} of {self.name}")
        name, (rows, _) = found
        pictures = _Pictures(found[1], f"{self.origin}{name}", data)
        chosen = "split" in rows.column_names
        official = self.official_counts.get(split)
        if not chosen and official is not None and len(rows) > official:
            raise DataError(
                f"{data}: split {name!r} has {len(rows)} rows, the {split} of {self.name} only {official}: it is "
                "another selection, and scores would not compare; take a data set that says which rows are of the split"
            )
        labels = {column: names for column, kind in rows.features.items() if (names := getattr(kind, "names", None))}
        for number, values in enumerate(rows.remove_columns([IMAGE])):
            if not chosen or values["split"] == split:
                for column, names in labels.items():
                    values |= _named(column, values[column], names)
                row = Record(data, f"{name}-{number:06d}", values)
                yield self.source.to_sample(self, split, row, pictures[number])

    def _rows(self, split: str) -> tuple[str, Rows] | None:
        """The hub's name of a split and its rows; None where there are none.

        Without a column that says which split a row is of, a split is the one of its own name.
        """
        names = dict.fromkeys((self.source.splits[split], split))
        for name in names:
            rows = rows_of(self.data, self.repo, name, streams=self.source.streams)
            shared = list(self.source.splits.values()).count(name) > 1
            if rows is not None and (name == split or not shared or "split" in rows.table.column_names):
                return name, rows
        return None


def _named(column: str, value: Any, names: Sequence[str]) -> dict[str, Any]:
    """A label with its name; without both where it is not published, for which data sets write -1."""
    if value is None or value == _UNPUBLISHED:
        return {column: None}
    return {f"{column}_name": names[value]} if 0 <= value < len(names) else {}


class _Pictures:
    """References to the pictures of rows: the Arrow or parquet file and the row in it."""

    def __init__(self, rows: Rows, name: str, data: Path) -> None:
        there = rows.table.column_names
        if IMAGE not in there:
            raise DataError(f"{data}: {name} has no column {IMAGE!r} (columns: {', '.join(there)})")
        self._name = name
        self._files = [file for file, _ in rows.parts]
        self._ends = list(accumulate(count for _, count in rows.parts))
        if not self._ends or self._ends[-1] != len(rows.table):
            raise DataError(f"{data}: the rows of {name} are not those of its files; save it again with save_to_disk")

    def __getitem__(self, row: int) -> Image:
        place = bisect_right(self._ends, row)
        inside = row - (self._ends[place - 1] if place else 0)
        return Image(f"{self._name}/{row}", self._files[place], f"{IMAGE}/{inside}")


def hub_task(task: type[Task], data: str) -> tuple[type[Task], Path]:
    """A task's class over the hub or a local data set (`hub`, `hub:ORG/NAME@REVISION`, `hub:FOLDER`), and its folder.

    Raises UsageError where a task has no such data set, DataError where it cannot be had.
    """
    source = SOURCES.get(task.name)
    if source is None:
        why = _NOT_THERE.get(task.name, "a plugin's data come from its own files")
        raise UsageError(f"--data {data}: {task.name} has no data set of the hub: {why}, and give --data DIR")
    given = data.partition(":")[2]
    if not given and source.repo is None:
        raise UsageError(f"--data hub: {task.name} has no data set of the hub that could be used: {source.why_not}")
    try:
        import datasets  # noqa: F401
    except ImportError as error:
        raise UsageError(f"--data {data} needs datasets: pip install 'kosmos-eval[hub]' ({error})") from None
    if given and Path(given).is_dir():
        repo, folder = None, Path(given)
    else:
        match = _HUB_ID.fullmatch(given or f"{source.repo}@{source.revision or 'main'}")
        if match is None:
            raise UsageError(f"--data {data}: no such folder, and no ORG/NAME or ORG/NAME@REVISION of the hub")
        repo, folder = match["repo"], snapshot(match["repo"], match["revision"], ["README.md"])
    made = type(task.__name__, (HubTask, task), {"source": source, "repo": repo, "__module__": task.__module__})
    return cast(type[Task], made), folder


def hub_name(folder: Path) -> str | None:
    """The `--data` that a folder of rows is read by; None for a folder that is none."""
    if folder.parent.name == "snapshots" and (repo := folder.parents[1].name).startswith("datasets--"):
        return f"hub:{repo.removeprefix('datasets--').replace('--', '/', 1)}@{folder.name}"
    rows = (folder / "dataset_dict.json").is_file() or any(any(folder.glob(p)) for p in ("*.parquet", "*/*.parquet"))
    return f"hub:{folder}" if rows else None
