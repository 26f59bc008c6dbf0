"""What a model would be asked, without asking it: the segments of each stage and the positions they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kosmos_eval.cell import Cell
from kosmos_eval.errors import UsageError, nearest
from kosmos_eval.plan import request
from kosmos_eval.prompt import Image, Segment, Tag, Text, Tokens
from kosmos_eval.request import Generate, Generated, Request, Score, Stage, assemble
from kosmos_eval.task import Sample

IMAGE_TOKENS = 66
"""Positions of one image: 64 slots between two markers."""
UNKNOWN_RATIONALE = "⟨the model's own rationale⟩"
_CHARACTERS_PER_TOKEN = 4


class Encoder(Protocol):
    """Counts positions; a checkpoint's processor does it exactly."""

    positions: int

    def length(self, segments: Sequence[Segment]) -> int: ...


class Estimate:
    """Counts positions roughly, where no tokenizer is at hand."""

    positions = 2048

    def length(self, segments: Sequence[Segment]) -> int:
        return 1 + sum(self._of(s) for s in segments)

    def _of(self, segment: Segment) -> int:
        match segment:
            case Image():
                return IMAGE_TOKENS
            case Text(text):
                return -(-len(text) // _CHARACTERS_PER_TOKEN)
            case Tokens(ids):
                return len(ids)
            case Tag():
                return 1
        return 0


@dataclass(frozen=True, slots=True)
class Budget:
    """The positions of the longest sequence of a request."""

    given: int
    """Of what is asked."""
    generated: int
    """At most, of what stages write."""
    images: int
    positions: int
    exact: bool

    @property
    def fits(self) -> bool:
        return self.given + self.generated <= self.positions


@dataclass(frozen=True, slots=True)
class Preview:
    """One sample's request, as it would be put to a model."""

    cell: Cell
    sample: Sample
    request: Request
    demos: tuple[str, ...]
    budget: Budget


def preview(cell: Cell, sample_id: str | None = None, encoder: Encoder | None = None) -> Preview:
    """The request of one sample, the first by default. The model's own rationales stand as placeholders."""
    if cell.retrieves:
        raise UsageError(
            f"--demos {cell.demos}: a preview reads no weights, and a vision tower chooses these demonstrations; "
            "preview with fixed; what a sample was shown stands in its response"
        )
    sample = _sample(cell, sample_id)
    shown: dict[str, str] | None = None
    if cell.rationale_origin == "field":
        shown = cell.field_rationales()
    elif cell.rationale_origin == "model":
        shown = {demo.id: UNKNOWN_RATIONALE for demo in cell.chooser.choose(sample)}
    asked, demos = request(sample, cell.asking(shown))
    unknown = len(demos) if cell.rationale_origin == "model" else 0
    return Preview(cell, sample, asked, demos, budget(asked, encoder, unknown))


def budget(asked: Request, encoder: Encoder | None = None, unknown_rationales: int = 0) -> Budget:
    """The longest sequence of a request, with room for all that its stages may write."""
    counter = encoder or Estimate()
    written: dict[str, Generated] = {}
    room = unknown_rationales * _room(asked.stages[0])
    longest = (0, 0, 0)
    for k, stage in enumerate(asked.stages):
        segments = assemble(asked, k, written)
        own = _room(stage)
        for candidate in _candidates(stage):
            whole = [*segments, *candidate]
            images = sum(isinstance(s, Image) for s in whole)
            longest = max(longest, (counter.length(whole), room + own, images), key=lambda found: found[0] + found[1])
        written[stage.name] = Generated("", (), "eos")
        room += own
    given, generated, images = longest
    return Budget(given, generated, images, counter.positions, exact=encoder is not None)


def _sample(cell: Cell, sample_id: str | None) -> Sample:
    if sample_id is None:
        return cell.samples[0]
    for sample in cell.samples:
        if sample.id == sample_id:
            return sample
    close = nearest(sample_id, [s.id for s in cell.samples[:50]])
    raise UsageError(f"{cell.task.name}: no sample {sample_id!r} in split {cell.task.split!r}{close}")


def _room(stage: Stage) -> int:
    return stage.act.max_tokens if isinstance(stage.act, Generate) else 0


def _candidates(stage: Stage) -> list[tuple[Segment, ...]]:
    if isinstance(stage.act, Score):
        return [(*choice.segments, Text(choice.target)) for choice in stage.act.choices]
    return [()]
