"""What is asked: a few samples of the mini suite, each kind of work that the engine does in its own way."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kosmos_eval.api import load_task
from kosmos_eval.cell import Cell
from kosmos_eval.plugins import prompt_file
from kosmos_eval.request import Generate, Request, Stage


@dataclass(frozen=True, slots=True)
class Probe:
    """The first samples of one cell of the mini suite."""

    task: str
    prompt: str
    shots: int
    samples: int


PROBES = (
    Probe("hateful_memes", "standard", 0, 6),
    Probe("rendered_sst2", "standard", 2, 6),  # demonstrations that all samples share
    Probe("raven_iq", "standard", 0, 1),  # candidates that are pictures
    Probe("vqav2", "standard", 2, 6),  # texts
    Probe("rendered_sst2", "mcot", 0, 4),  # a stage that goes on where another stopped
)
MAX_TOKENS = 12
"""Of a text: enough to go wrong, little enough to be checked without a cache."""


def probes() -> list[Request]:
    """The requests, the same on every machine. Texts end at `</s>` or MAX_TOKENS alone."""
    return [_short(request, probe) for probe in PROBES for request in _planned(probe)]


def _planned(probe: Probe) -> list[Request]:
    cell = Cell.of(load_task(probe.task), prompt_file(probe.task), probe.prompt, shots=probe.shots, limit=probe.samples)
    return [request for request, _ in cell.plan(None)]


def _short(request: Request, probe: Probe) -> Request:
    stages = tuple(_shorter(stage) for stage in request.stages)
    return Request(f"{probe.task} {probe.prompt} {request.id}", request.context, stages)


def _shorter(stage: Stage) -> Stage:
    if not isinstance(stage.act, Generate):
        return stage
    return replace(stage, act=replace(stage.act, max_tokens=min(stage.act.max_tokens, MAX_TOKENS), stop=()))
