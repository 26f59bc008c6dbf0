"""Questions and annotations in the layout of VQAv2 (https://visualqa.org/download.html), which VizWiz may have too."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from kosmos_eval.data.files import Record, by_id, read_object
from kosmos_eval.data.images import ref
from kosmos_eval.data.rationales import rationale_field, read_rationales
from kosmos_eval.errors import DataError
from kosmos_eval.task import Sample, Task


def one_file(data: Path, stem: str) -> Path | None:
    """`<stem>.json`, else the one file whose name begins so (a subset); None where there is none.

    Raises DataError where several could be meant.
    """
    exact = data / f"{stem}.json"
    if exact.exists():
        return exact
    found = sorted(data.glob(f"{stem}*.json"))
    if len(found) > 1:
        raise DataError(f"{data}: which is meant, {' or '.join(p.name for p in found)}? Name one of them {exact.name}")
    return found[0] if found else None


class VqaTask(Task):
    """Open-ended questions with several annotators' answers, from a pair of JSON files per split.

    Splits are those of `official_counts`; of `test*` splits no answers are public, and their samples have no target.
    The demonstration's answer is the annotators' most common one (`multiple_choice_answer`).
    """

    questions_stem: ClassVar[str]
    """Name of the questions file without suffix; `{split}` stands for the split."""
    annotations_stem: ClassVar[str]
    annotators: ClassVar[int] = 10
    results_keys = ("question_id", "answer")

    @abstractmethod
    def image_name(self, split: str, image_id: str) -> str:
        """Where a picture lies, relative to the data folder."""

    def sample_id(self, question: Record) -> str:
        return question.identifier("question_id")

    def answer_type(self, annotation: Record) -> str | None:
        """What a score is broken down by."""
        return annotation.text("answer_type") if annotation.has("answer_type") else None

    def available_splits(self) -> list[str]:
        return [s for s in self.official_counts if one_file(self.data, self.questions_stem.format(split=s))]

    @cached_property
    def rationales(self) -> Mapping[str, str]:
        return read_rationales(self.data)

    def read(self, data: Path, split: str) -> Iterator[Sample]:
        questions_file = one_file(data, self.questions_stem.format(split=split))
        if questions_file is None:
            raise DataError(f"{data}: no {self.questions_stem.format(split=split)}.json; expected {self.layout}")
        questions = by_id(read_object(questions_file).records("questions"), "question_id")
        annotations = self._annotations(data, split, questions, questions_file)
        for question_id, question in questions.items():
            yield self.sample(split, question, annotations.get(question_id))

    def _annotations(
        self, data: Path, split: str, questions: Mapping[str, Record], questions_file: Path
    ) -> Mapping[str, Record]:
        """Annotations by question id: one for each question and none besides."""
        stem = self.annotations_stem.format(split=split)
        path = one_file(data, stem)
        if path is None:
            if split.startswith("test"):
                return {}
            raise DataError(f"{data}: no {stem}.json, which holds the answers to {questions_file.name}")
        annotations = by_id(read_object(path).records("annotations"), "question_id")
        for question_id, question in questions.items():
            if question_id not in annotations:
                raise question.error(f"question_id {question_id} has no annotation in {path}")
        for question_id, annotation in annotations.items():
            if question_id not in questions:
                raise annotation.error(f"question_id {question_id} has no question in {questions_file}")
        return annotations

    def sample(self, split: str, question: Record, annotation: Record | None) -> Sample:
        """A sample from a question and its annotation, which may be the same record."""
        image_id = question.identifier("image_id")
        if annotation is not None and annotation.has("image_id") and annotation.identifier("image_id") != image_id:
            raise annotation.error(
                f"image_id {annotation.values['image_id']!r} is not that of its question, {image_id}"
            )
        fields: dict[str, Any] = {"question_id": question.identifier("question_id")}
        if annotation is not None and annotation.has("question_type"):
            fields["question_type"] = annotation.text("question_type")
        try:
            name = self.image_name(split, image_id)
        except DataError as error:
            raise question.error(str(error)) from None
        return self.make_sample(self.sample_id(question), name, question, annotation, fields)

    def make_sample(
        self, sample_id: str, image: str, question: Record, answers: Record | None, more: Mapping[str, Any]
    ) -> Sample:
        """A sample from a record with `question` and one with `answers`, which may be the same."""
        fields = {"question": question.line("question"), **more, **rationale_field(self.rationales, sample_id)}
        try:
            images = (ref(self.data, image),)
        except DataError as error:
            raise question.error(str(error)) from None
        if answers is None:
            return Sample(sample_id, images, fields)
        target = self._answers(answers)
        answer = answers.text("multiple_choice_answer", blank=True) if answers.has("multiple_choice_answer") else ""
        answer = answer.strip() or _most_common(target)
        if not answer:
            raise answers.error("all answers are blank")
        kind = self.answer_type(answers)
        fields |= {"first_answer": target[0]} | ({"answer_type": kind} if kind else {})
        return Sample(sample_id, images, fields, target, f" {answer}", group=kind)

    def _answers(self, record: Record) -> list[str]:
        answers = record.column("answers", "answer", blank=True)
        if len(answers) != self.annotators:
            raise record.error(f"field 'answers' has {len(answers)} answers; every question has {self.annotators}")
        return answers


def _most_common(answers: list[str]) -> str:
    common = Counter(a for a in answers if a.strip()).most_common(1)
    return common[0][0].strip() if common else ""
