"""The language suite: text-only tasks that weigh the answers of each item, read from one JSON object a line.

An item is `{"query", "choices", "gold"}`: which choice goes on after the query? Or, for Winograd schemas,
`{"context_options", "continuation", "gold"}`: behind which of the contexts is one continuation likeliest ("partial
scoring", Trinh & Le 2018)? `gold` counts from 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from kosmos_eval.data.files import Record, read_jsonl
from kosmos_eval.metrics.accuracy import Accuracy
from kosmos_eval.metrics.baselines import ChanceBaseline, MajorityBaseline
from kosmos_eval.prompt import Text
from kosmos_eval.request import Choice
from kosmos_eval.task import Sample, Task


class LanguageTask(Task):
    """A task of the suite. A sample's id is its line in the file, from 1; its choices are called by their index."""

    metrics = (Accuracy(), ChanceBaseline(), MajorityBaseline())
    splits: ClassVar[Mapping[str, str]] = {"eval": "validation", "demos": "train"}
    stem: ClassVar[str] = ""
    """What its file is called, without suffix, where that is not the task's name."""

    def file(self, split: str) -> Path:
        """`copa.jsonl` is the evaluated split, `copa_train.jsonl` any other."""
        stem = self.stem or self.name
        return self.data / (f"{stem}.jsonl" if split == self.splits["eval"] else f"{stem}_{split}.jsonl")

    def available_splits(self) -> list[str]:
        return [split for split in self.splits.values() if self.file(split).exists()]

    def read(self, data: Path, split: str) -> Iterator[Sample]:
        for number, record in enumerate(read_jsonl(self.file(split)), start=1):
            yield _schema(str(number), record) if record.has("context_options") else _question(str(number), record)


def _question(sample_id: str, record: Record) -> Sample:
    choices, gold = _options(record, "choices")
    return Sample(
        sample_id,
        fields={"query": record.text("query").rstrip(), "choices": choices},
        target=gold,
        answer=f" {choices[gold]}",
        label=str(gold),
        choices=tuple(Choice(str(k), f" {choice}") for k, choice in enumerate(choices)),
    )


def _schema(sample_id: str, record: Record) -> Sample:
    contexts, gold = _options(record, "context_options")
    continuation = record.text("continuation").strip()
    return Sample(
        sample_id,
        fields={"continuation": continuation, "choices": contexts},
        target=gold,
        answer=f"{contexts[gold]} {continuation}",
        label=str(gold),
        choices=tuple(Choice(str(k), f" {continuation}", (Text(context),)) for k, context in enumerate(contexts)),
    )


def _options(record: Record, key: str) -> tuple[list[str], int]:
    """The stripped options and which one is right."""
    options = [option.strip() for option in record.texts(key)]
    if len(options) < 2:
        raise record.error(f"field {key!r} has {len(options)} entries; it takes two to choose")
    return options, record.integer("gold", 0, len(options) - 1)
