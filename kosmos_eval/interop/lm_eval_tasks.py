"""Our tasks under lm-eval: the functions that exported YAML files name. Documents come from the very plan of a run.

A document's fields are what lm-eval logs: id, text (with `<image>` where pictures stand), choices, target, images. All
else is found again by `source`, the arguments of `documents`, and the sample's id.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.api import load_task
from kosmos_eval.cell import Cell
from kosmos_eval.data.images import load
from kosmos_eval.errors import DataError, PromptError
from kosmos_eval.interop import PLACEHOLDER
from kosmos_eval.metrics.accuracy import Accuracy
from kosmos_eval.metrics.base import PER_CENT, Metric, Prediction, compute_all, per_sample_all
from kosmos_eval.metrics.exact_match import ExactMatch
from kosmos_eval.metrics.vqa import VqaAccuracy
from kosmos_eval.plugins import home_of, prompt_file
from kosmos_eval.prompt import Image, Segment, Text
from kosmos_eval.request import Generate, Request, Score, assemble
from kosmos_eval.score import reference_corpus
from kosmos_eval.task import Sample, Task, require_targets

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

log = logging.getLogger(__name__)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """What documents are made of: the samples of a cell without demonstrations, and how each is asked."""

    task: Task
    samples: Mapping[str, Sample]
    requests: Mapping[str, Request]

    @classmethod
    def of(cls, cell: Cell) -> Source:
        """Raises PromptError where lm-eval cannot ask it, DataError where answers are not known."""
        samples = require_targets(cell.task, cell.samples, cell.task.split)
        requests = {request.id: request for request, _ in cell.plan(None)}
        for request in requests.values():
            _check(request, cell.title)
        return cls(cell.task, {sample.id: sample for sample in samples}, requests)

    def metrics(self) -> list[Metric]:
        """The task's metrics, told the references of the whole split."""
        corpus = reference_corpus(self.task.samples)
        return [metric.with_corpus(corpus) for metric in self.task.metrics]


def _check(request: Request, title: str) -> None:
    """Raises PromptError for what lm-eval has no way to ask."""
    if len(request.stages) > 1:
        raise PromptError(f"{title}: it has {len(request.stages)} stages, and lm-eval asks a model once a sample")
    act = request.stages[0].act
    before = [s for choice in act.choices for s in choice.segments] if isinstance(act, Score) else []
    if any(isinstance(s, Image) for s in before):
        raise PromptError(f"{title}: its candidates are pictures, and lm-eval weighs texts only")
    if before:
        raise PromptError(f"{title}: its choices begin with texts of their own, which lm-eval cannot leave unweighed")
    for segment in assemble(request, 0, {}):
        if not isinstance(segment, Image | Text):
            raise PromptError(f"{title}: it has tokens of KOSMOS's own ({segment}), which lm-eval's texts cannot hold")


@lru_cache(maxsize=8)
def source(arguments: str) -> Source:
    """A source by its arguments (see `as_json`). Raises KosmosEvalError for what cannot be asked."""
    a = json.loads(arguments)
    tasks_dir = a["tasks_dir"]
    task = load_task(a["task"], a["data"], a["split"], tasks_dir)
    templates = prompt_file(task.name, a["prompts"] and Path(a["prompts"]), home_of(type(task)))
    return Source.of(Cell.of(task, templates, a["prompt"], seed=a["seed"], limit=a["limit"]))


def as_json(
    task: str,
    prompt: str = "standard",
    data: str = "mini",
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    tasks_dir: str | None = None,
    prompts: str | None = None,
    **_: Any,
) -> str:
    """The arguments of `source`. `limit` and `seed` draw the samples that `kosmos-eval run` would."""
    arguments = {
        "task": task, "prompt": prompt, "data": data, "split": split, "limit": limit, "seed": seed,
        "tasks_dir": tasks_dir, "prompts": prompts,
    }  # fmt: skip
    return json.dumps(arguments)


def documents(**arguments: Any) -> dict[str, Any]:
    """lm-eval's `custom_dataset`: one split, `test`. It also passes metadata of its own, which is ignored."""
    from datasets import Dataset

    key = as_json(**arguments)
    found = source(key)
    return {"test": Dataset.from_list([_document(r, found.samples[i], key) for i, r in found.requests.items()])}


def _document(request: Request, sample: Sample, arguments: str) -> Document:
    segments, act = assemble(request, 0, {}), request.stages[0].act
    document: Document = {
        "id": sample.id,
        "text": "".join(_plain(segment, sample) for segment in segments),
        "images": [s.name for s in segments if isinstance(s, Image)],
        "target": sample.answer,
        "source": arguments,
    }
    if isinstance(act, Score):
        document["choices"] = [choice.target for choice in act.choices]
    return document


def _plain(segment: Segment, sample: Sample) -> str:
    if not isinstance(segment, Text):
        return PLACEHOLDER
    if PLACEHOLDER in segment.text:
        raise DataError(f"sample {sample.id!r}: its text holds {PLACEHOLDER!r}, which lm-eval would take for a picture")
    return segment.text


def pictures(document: Document) -> list[PILImage]:
    """lm-eval's `doc_to_image`: the pictures, in the order of their placeholders."""
    segments = assemble(source(document["source"]).requests[document["id"]], 0, {})
    return [load(segment) for segment in segments if isinstance(segment, Image)]


# Scoring: by our metrics, on lm-eval's scale of 0 to 1.


@dataclass(frozen=True, slots=True)
class Item:
    """One sample's contribution to a figure that is no mean: the whole prediction."""

    name: str
    prediction: Prediction
    source: str

    def __str__(self) -> str:
        return str(self.prediction.text if self.prediction.scores is None else dict(self.prediction.scores))


def weighed(document: Document, results: Sequence[tuple[float, bool]]) -> dict[str, float | Item]:
    """lm-eval's `process_results` where choices are scored."""
    act = source(document["source"]).requests[document["id"]].stages[0].act
    assert isinstance(act, Score)
    scores = {choice.name: logprob for choice, (logprob, _) in zip(act.choices, results, strict=True)}
    return _contributions(document, None, scores)


def written(document: Document, results: Sequence[str]) -> dict[str, float | Item]:
    """lm-eval's `process_results` where the answer is written, as it is in a run of ours."""
    return _contributions(document, results[0].strip(), None)


def written_choice(document: Document, results: Sequence[str]) -> dict[str, float | Item]:
    """lm-eval's `process_results` where one of the task's answers is to be written.

    The answer is the one that the text begins with, whatever its case; `unmatched` counts texts that begin with none,
    which are wrong.
    """
    act = source(document["source"]).requests[document["id"]].stages[0].act
    assert isinstance(act, Score)
    text = results[0].strip()
    begun = [c.name for c in act.choices if text.lower().startswith(c.name.strip().lower())]
    answer = max(begun, key=len).strip() if begun else text
    found = _contributions(document, answer, None)
    return {**{name: value for name, value in found.items() if isinstance(value, float)}, "unmatched": float(not begun)}


def _contributions(document: Document, text: str | None, scores: Mapping[str, float] | None) -> dict[str, float | Item]:
    found = source(document["source"])
    sample = found.samples[document["id"]]
    prediction = Prediction(sample.id, text, scores, sample.target, sample.group, sample.fields)
    contributions: dict[str, float | Item] = {}
    for metric in found.task.metrics:
        if is_mean(metric):
            (values,) = per_sample_all([metric], [prediction])
            contributions |= values
        else:
            names = figures(metric)
            contributions |= {name: Item(name, prediction, document["source"]) for name in names}
    return contributions


def is_mean(metric: Metric) -> bool:
    """Whether its figure is the mean of the samples' values: lm-eval then also knows its standard error."""
    return isinstance(metric, Accuracy | ExactMatch | VqaAccuracy)


def figures(metric: Metric) -> list[str]:
    """The names of a metric's figures: it has them also where there is nothing to score."""
    return [score.metric for score in metric.compute([])]


def figure(items: Sequence[Item]) -> float:
    """lm-eval's `aggregation`, for figures that are no mean; NaN where it is undefined, with the reason logged."""
    name = items[0].name
    owner = next(m for m in source(items[0].source).metrics() if name in figures(m))
    scores = {score.metric: score for score in compute_all([owner], [item.prediction for item in items])}
    if (value := scores[name].value) is None:
        log.warning("%s is undefined: %s", name, scores[name].reason)
        return float("nan")
    return value if name.endswith("_p") else value / PER_CENT


def generation(act: Generate) -> dict[str, Any]:
    """An act as lm-eval's `generation_kwargs`."""
    kwargs: dict[str, Any] = {"until": list(act.stop), "max_gen_toks": act.max_tokens, "do_sample": False}
    if act.beams > 1:
        kwargs |= {"num_beams": act.beams, "length_penalty": act.length_penalty}
    if act.no_repeat_ngram:
        kwargs["no_repeat_ngram_size"] = act.no_repeat_ngram
    return kwargs
