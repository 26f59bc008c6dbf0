"""Requests and responses: what crosses the wall between a plan and a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from kosmos_eval.errors import PromptError, UsageError
from kosmos_eval.prompt import Image, Output, Segment, Text, Tokens, describe, digest


@dataclass(frozen=True, slots=True)
class Generate:
    """Write on: greedily, or by beam search with Hugging Face's semantics.

    `stop` strings end the text and are cut off; one that names a special token (`<image>`) ends it as that token.
    """

    max_tokens: int = 64
    beams: int = 1
    length_penalty: float = 1.0
    no_repeat_ngram: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.beams < 1:
            raise UsageError(f"cannot write {self.max_tokens} tokens with {self.beams} beams: both are at least 1")


@dataclass(frozen=True, slots=True)
class Choice:
    """A candidate: segments to append (may hold an image), then the target text whose log-probability counts."""

    name: str
    target: str
    segments: tuple[Segment, ...] = ()
    target_ids: tuple[int, ...] | None = None
    """Token ids of the target where another harness has tokenised it; `target` is then only its label."""


@dataclass(frozen=True, slots=True)
class Score:
    """Weigh choices by the log-probability of their targets."""

    choices: tuple[Choice, ...]


Act: TypeAlias = Generate | Score


@dataclass(frozen=True, slots=True)
class Stage:
    """Segments to append, then one act. `fresh` starts from the demonstrations again; `drop` takes all images out."""

    name: str
    segments: tuple[Segment, ...]
    act: Act
    context: Literal["continue", "fresh"] = "continue"
    image: Literal["keep", "drop"] = "keep"


@dataclass(frozen=True, slots=True)
class Request:
    """One sample's context (its demonstrations) and stages, ready for a model. Only the last stage may score."""

    id: str
    context: tuple[Segment, ...]
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.stages:
            raise UsageError(f"request {self.id!r} has no stage: nothing is asked")
        if any(isinstance(stage.act, Score) for stage in self.stages[:-1]):
            raise UsageError(f"request {self.id!r}: only the last stage may score")
        if len({stage.name for stage in self.stages}) < len(self.stages):
            raise UsageError(f"request {self.id!r}: two stages have one name: what they write could not be told apart")

    @property
    def prompt_hash(self) -> str:
        """Identifies everything that is asked, down to decoding parameters; equal on every machine."""
        return digest([describe(self.context), [_plain_stage(s) for s in self.stages]])


@dataclass(frozen=True, slots=True)
class Generated:
    """What a `Generate` act wrote: `ids` without the end-of-sequence token, `text` without a stop string.

    `finish` is `eos`, `stop` or `length` (cut off by `max_tokens`).
    """

    text: str
    ids: tuple[int, ...]
    finish: Literal["eos", "stop", "length"]


@dataclass(frozen=True, slots=True)
class ChoiceScore:
    """Log-probability (natural, summed over the target's `tokens`) of one choice.

    `greedy` says whether each of those tokens was the likeliest one; None where that is not known (it is not stored).
    """

    name: str
    logprob: float
    tokens: int
    greedy: bool | None = None

    @property
    def mean(self) -> float:
        """Log-probability per token: the SEED-Bench rule of KOSMOS-2's authors."""
        return self.logprob / max(self.tokens, 1)


@dataclass(frozen=True, slots=True)
class StageResult:
    """The outcome of one stage: a text or choice scores."""

    name: str
    generated: Generated | None = None
    choices: tuple[ChoiceScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Response:
    """All stages of one request, or the reason why there are none. `fits` is False where it exceeds the positions.

    `pixels` is a hash of the contents of the request's pictures, in their order: what was seen, whatever its name.
    """

    id: str
    stages: tuple[StageResult, ...] = ()
    error: str | None = None
    fits: bool = True
    pixels: str | None = None

    @property
    def text(self) -> str | None:
        """The text of the last stage, if it generated."""
        last = self.stages[-1].generated if self.stages else None
        return last.text if last else None

    @property
    def scores(self) -> dict[str, float] | None:
        """Summed log-probabilities of the last stage's choices, if it scored."""
        return {c.name: c.logprob for c in self.stages[-1].choices} if self.stages and self.stages[-1].choices else None


def _plain_stage(stage: Stage) -> list[Any]:
    act = stage.act
    if isinstance(act, Generate):
        how: list[Any] = [act.max_tokens, act.beams, act.length_penalty, act.no_repeat_ngram, list(act.stop)]
    else:
        how = [[c.name, c.target, describe(c.segments), list(c.target_ids or ())] for c in act.choices]
    return [stage.name, describe(stage.segments), stage.context, stage.image, how]


def resumes(stage: Stage) -> bool:
    """Whether a later stage goes on where the one before it stopped, so that a cache can go on too."""
    return stage.context == "continue" and stage.image == "keep"


def images_of(request: Request) -> list[Image]:
    """Every picture a request shows or weighs."""
    segments = [*request.context, *(s for stage in request.stages for s in stage.segments)]
    for stage in request.stages:
        if isinstance(stage.act, Score):
            segments += [s for choice in stage.act.choices for s in choice.segments]
    return [s for s in segments if isinstance(s, Image)]


def _resolved(segments: tuple[Segment, ...], outputs: Mapping[str, Generated]) -> list[Segment]:
    resolved: list[Segment] = []
    for s in segments:
        if isinstance(s, Output):
            if s.stage not in outputs:
                raise PromptError(f"output {s.stage!r} stands in a prompt, but no stage before writes it")
            s = Text(outputs[s.stage].text)
        resolved.append(s)
    return resolved


def assemble(request: Request, k: int, outputs: Mapping[str, Generated]) -> list[Segment]:
    """The whole sequence that stage `k` acts on, given what earlier stages wrote.

    A continued context holds generated tokens as they are; only a fresh one turns them to text again.
    """
    stage = request.stages[k]
    own = _resolved(stage.segments, outputs)
    if stage.context == "fresh" or k == 0:
        before: list[Segment] = list(request.context)
    else:
        before = assemble(request, k - 1, outputs) or [Text("")]  # what is written is no beginning: `<s>` is before it
        before.append(Tokens(outputs[request.stages[k - 1].name].ids))
    sequence = before + own
    if stage.image == "keep":
        return sequence
    kept: list[Segment] = [s for s in sequence if not isinstance(s, Image)]
    lost_its_beginning = bool(kept) and isinstance(kept[0], Tokens) and kept[0] is not sequence[0]
    return [Text(""), *kept] if lost_its_beginning else kept
