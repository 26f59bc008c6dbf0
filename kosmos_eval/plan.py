"""The plan: task, template, demonstrations and seed to requests. Pure: no model, no clock, no rank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kosmos_eval.demos import POOL, Chooser, rank
from kosmos_eval.errors import PromptError
from kosmos_eval.prompt import Image, Output, Segment, parse_tags
from kosmos_eval.request import Act, Choice, Generate, Request, Score, Stage
from kosmos_eval.task import Sample
from kosmos_eval.template import CandidateSpec, StageSpec, Template, TextsSpec, joined, render


@dataclass(frozen=True, slots=True)
class Asking:
    """How samples are asked: everything a request depends on besides the sample itself."""

    task: str
    prompt: str
    template: Template
    answers: tuple[str, ...]
    chooser: Chooser
    plain_demo: str
    """The demonstration without a rationale: used where `rationale` is `none`."""
    rationales: Mapping[str, str] | None = None
    """Sample id -> rationale, where demonstrations show one (made beforehand; see `rationale_requests`)."""
    text_demos: bool = False
    """Whether demonstrations are shown without their images (Flamingo's "zero-shot")."""
    others: Sequence[Sample] = ()
    """The split, by id: where `{{ other.* }}`, the fields of a sample drawn at random, comes from."""
    file: str | None = None
    """Where the template was read, for messages."""

    @property
    def where(self) -> str:
        return f"{self.file or f'prompts/{self.task}.yaml'}: {self.prompt}"


def _variables(sample: Sample, asking: Asking) -> dict[str, Any]:
    return {**sample.fields, "images": len(sample.images), "other": _other(sample, asking).fields}


def _other(sample: Sample, asking: Asking) -> Sample:
    """Another sample of the split, drawn by hash(seed, id): a control shows its rationale instead of the right one."""
    others = asking.others
    if len(others) < 2:
        return sample
    place = rank(asking.chooser.seed, "other", sample.id) % len(others)
    return others[place] if others[place].id != sample.id else others[(place + 1) % len(others)]


def demonstration(sample: Sample, asking: Asking, *, images: bool = True) -> list[Segment]:
    """One demonstration, written with its answer and, where the template shows one, its rationale."""
    text, variables = asking.template.demo, {**_variables(sample, asking), "answer": sample.answer}
    name = asking.template.rationale_name
    if name and asking.rationales is None:
        text = asking.plain_demo
    elif name and asking.rationales is not None:
        variables[name] = asking.rationales[sample.id]
    right = sample.candidates.get(str(sample.target))
    segments = render(text, variables, iter(sample.images), right, f"{asking.where}.demo")
    return segments if images else joined([s for s in segments if not isinstance(s, Image)])


class Contexts:
    """The demonstrations before samples, concatenated. Each is written once, as long as it is kept."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self._between = list(parse_tags(asking.template.separator))
        self._written: dict[int, tuple[Sample, list[Segment]]] = {}
        self._last: tuple[tuple[Sample, ...], tuple[Segment, ...]] = ((), ())

    def before(self, sample: Sample) -> tuple[tuple[Segment, ...], tuple[str, ...]]:
        """The context of a sample and the ids of its demonstrations; one object where neighbours have the same."""
        demos = self.asking.chooser.choose(sample)
        shown, segments = self._last
        if len(demos) != len(shown) or any(a is not b for a, b in zip(demos, shown, strict=True)):
            segments = tuple(joined([s for demo in demos for s in self._demonstration(demo)]))
            self._last = demos, segments
        return segments, tuple(d.id for d in demos)

    def _demonstration(self, demo: Sample) -> list[Segment]:
        if id(demo) not in self._written:
            if len(self._written) >= POOL:  # retrieved from a large pool, demonstrations need not come again
                self._written.clear()
            written = demonstration(demo, self.asking, images=not self.asking.text_demos)
            self._written[id(demo)] = demo, [*written, *self._between]  # the sample is held, so that its id stays its
        return self._written[id(demo)][1]


def _act(spec: StageSpec, sample: Sample, asking: Asking, variables: Mapping[str, Any], where: str) -> Act:
    if spec.generate:
        g = spec.generate
        return Generate(g.max_tokens, g.beams, g.length_penalty, g.no_repeat_ngram, g.stop)
    if isinstance(spec.score, CandidateSpec):
        if not sample.candidates:
            raise PromptError(f"{where}: scores candidates, but sample {sample.id!r} has none")
        return Score(
            tuple(
                Choice(name, spec.score.target, tuple(render(spec.score.choice, variables, iter(()), image, where)))
                for name, image in sample.candidates.items()
            )
        )
    if sample.choices:
        return Score(sample.choices)
    if not asking.answers:
        raise PromptError(f"{where}: scores answers, but task {asking.task!r} lists none")
    texts = spec.score.texts if isinstance(spec.score, TextsSpec) else {answer: answer for answer in asking.answers}
    if texts.keys() != set(asking.answers):
        given, needed = (", ".join(map(repr, names)) for names in (list(texts), asking.answers))
        raise PromptError(f"{where}: gives texts for {given}; the answers are {needed}")
    return Score(tuple(Choice(answer, texts[answer]) for answer in asking.answers))


def stages(sample: Sample, asking: Asking) -> tuple[Stage, ...]:
    """A sample's stages. A fresh stage that keeps the image and does not place it itself has it at its start."""
    variables = _variables(sample, asking)
    built: list[Stage] = []
    for k, spec in enumerate(asking.template.stages):
        where = f"{asking.where}.stages.{k}"
        segments = render(spec.ask, variables, iter(sample.images), None, f"{where}.ask")
        if k and spec.context == "fresh" and spec.image == "keep" and not any(isinstance(s, Image) for s in segments):
            segments = [*sample.images, *segments]
        act = _act(spec, sample, asking, variables, where)
        name = spec.generate.name if spec.generate else "answer"
        built.append(Stage(name, tuple(segments), act, spec.context, spec.image))
        variables[name] = Output(name)
    return tuple(built)


def request(sample: Sample, asking: Asking) -> tuple[Request, tuple[str, ...]]:
    """One sample's request and the ids of its demonstrations."""
    return next(plan([sample], asking))


def plan(samples: Iterable[Sample], asking: Asking) -> Iterator[tuple[Request, tuple[str, ...]]]:
    """The requests of a run, in the samples' order, each with its demonstration ids."""
    contexts = Contexts(asking)
    for sample in samples:
        segments, demo_ids = contexts.before(sample)
        yield Request(sample.id, segments, stages(sample, asking)), demo_ids


def rationale_requests(samples: Sequence[Sample], asking: Asking) -> Iterator[Request]:
    """Zero-shot requests of the first stage alone, one per demonstration that needs the model's own rationale."""
    for sample in samples:
        yield Request(sample.id, (), stages(sample, asking)[:1])


def needed_demonstrations(samples: Sequence[Sample], asking: Asking) -> list[Sample]:
    """Every sample that serves as a demonstration for one of `samples`, once, in a stable order."""
    found = {d.id: d for s in samples for d in asking.chooser.choose(s)}
    return sorted(found.values(), key=lambda d: (rank(asking.chooser.seed, "demos", d.id), d.id))
