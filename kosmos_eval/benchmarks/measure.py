"""Timing in turns: in each round every arm does the work once, from nothing but the weights; seconds per query count.

Arms that take turns meet the same machine, whatever else it does meanwhile; the ratio of each round is taken, then
their median. With one thread, seconds are those that the processor gave to the process: what else runs beside it
counts less then. With more threads, or a GPU, they are wall time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch.nn import functional as F

from kosmos_eval.benchmarks.hugging_face import ARMS, Answer, HuggingFace
from kosmos_eval.benchmarks.work import Work
from kosmos_eval.data.images import load
from kosmos_eval.engine.engine import Engine
from kosmos_eval.engine.limits import Limits
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.kosmos.config import KosmosConfig
from kosmos_eval.kosmos.model import Kosmos
from kosmos_eval.kosmos.processor import Processor
from kosmos_eval.request import Response, assemble

TOLERANCE = {torch.float32: 1e-4}
"""How far log-probabilities may lie apart. In other dtypes they are printed, and not judged."""

ENGINE, PLAIN = "engine", "engine, plain"


@dataclass(slots=True)
class Timing:
    """Seconds per query of one arm, round by round, and how many queries it was given."""

    arm: str
    queries: int
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How an arm's answers compare with the engine's: the largest difference of log-probabilities, equal texts."""

    compared: int
    largest: float
    same_choice: int
    same_texts: int
    texts: int


@dataclass(frozen=True, slots=True)
class Effort:
    """What the engine did: positions computed against those asked for, matrix products, keys and values.

    `kv_bytes` is the most that was held at once, `kv_per_row` what the same rows would have taken, each with a cache of
    its own. `peak_share`: floating-point operations of its matrix products a second over the measured machine peak.
    """

    asked: int
    computed: int
    pictures: int
    peak_share: float
    kv_bytes: int
    kv_per_row: int


@dataclass(slots=True)
class Measured:
    """One kind of work, measured."""

    work: Work
    timings: dict[str, Timing]
    agreements: dict[str, Agreement]
    effort: Effort

    def ratios(self, arm: str) -> list[float]:
        """Seconds per query of an arm over the engine's, round by round."""
        ours = self.timings[ENGINE].seconds
        return [theirs / our for theirs, our in zip(self.timings[arm].seconds, ours, strict=True)]


def clock(device: torch.device) -> Callable[[], float]:
    """What seconds are read from; see the module's docstring."""
    if device.type == "cpu":
        return time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def synchronised() -> float:
        torch.mps.synchronize() if device.type == "mps" else torch.cuda.synchronize(device)
        return time.perf_counter()

    return synchronised


def machine_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product: the best of several."""
    size = 4096 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    now, best = clock(device), float("inf")
    for _ in range(10):
        began = now()
        F.linear(a, b)
        best = min(best, now() - began)
    return 2 * size**3 / best


def matrix_operations(config: KosmosConfig, pictures: int, positions: int, read: int) -> float:
    """Floating-point operations of the matrix products with weights: attention's own are left out."""
    text, vision = config.text, config.vision
    layer = 4 * text.embed_dim**2 + 2 * text.embed_dim * text.ffn_dim
    vision_layer = 4 * vision.hidden_size**2 + 2 * vision.hidden_size * vision.intermediate_size
    patches = vision.num_patches + 1
    resampler = patches * (vision.hidden_size * text.embed_dim + 2 * text.embed_dim**2)
    resampler += config.latent_query_num * 4 * text.embed_dim**2
    patch = vision.num_patches * vision.num_channels * vision.patch_size**2 * vision.hidden_size
    per_picture = patches * vision.num_hidden_layers * vision_layer + resampler + patch
    head = text.embed_dim * text.vocab_size
    return 2.0 * (pictures * per_picture + positions * text.layers * layer + read * head)


def _answer(response: Response) -> Answer:
    if response.error:
        raise KosmosEvalError(f"the engine could not do the work: {response.error}")
    logprobs = tuple(c.logprob for c in response.stages[-1].choices)
    return Answer(logprobs, tuple(s.generated.ids for s in response.stages if s.generated is not None))


def _asked(work: Work, processor: Processor, answers: Sequence[Answer]) -> int:
    """Positions of all sequences that were asked about, as if each were computed by itself."""
    asked = 0
    for request, answer in zip(work.requests, answers, strict=True):
        length = processor.length(assemble(request, 0, {}))
        if answer.ids:
            later = sum(processor.length((*stage.segments,)) for stage in request.stages[1:])
            asked += length + later + sum(map(len, answer.ids))
        else:
            choices = request.stages[0].act.choices  # type: ignore[union-attr]
            asked += sum(length + processor.length(c.segments) + len(c.target_ids or ()) for c in choices)
    return asked


def _agreement(ours: Sequence[Answer], theirs: Sequence[Answer]) -> Agreement:
    pairs = list(zip(ours, theirs, strict=False))
    apart = [abs(x - y) for a, b in pairs for x, y in zip(a.logprobs, b.logprobs, strict=True)]
    scored = [(a.logprobs, b.logprobs) for a, b in pairs if a.logprobs]
    texts = [x == y for a, b in pairs for x, y in zip(a.ids, b.ids, strict=True)]
    same = sum(a.index(max(a)) == b.index(max(b)) for a, b in scored)
    return Agreement(len(pairs), max(apart, default=0.0), same, sum(texts), len(texts))


class Bench:
    """A network, its processor, and Hugging Face's model of the same weights."""

    def __init__(self, network: Kosmos, processor: Processor, hf_model: object, limits: Limits) -> None:
        self.network, self.processor, self.hf_model, self.limits = network, processor, hf_model, limits
        self.peak = machine_peak(network.device, network.dtype)

    def _engine(self, work: Work) -> tuple[Engine, list[Answer]]:
        engine = Engine(self.network, self.processor, load, self.limits)
        found = dict(engine.run(work.requests))
        return engine, [_answer(found[i]) for i in range(len(work.requests))]

    @torch.inference_mode()
    def measure(self, work: Work, rounds: int, progress: Callable[[str], None]) -> Measured:
        """Times all arms in turns. Raises KosmosEvalError if their answers differ beyond the tolerance of the dtype."""
        now = clock(self.network.device)
        timings = {ENGINE: Timing(ENGINE, len(work.requests))}
        timings |= {arm: Timing(arm, work.reference_queries) for arm in work.against}
        agreements: dict[str, Agreement] = {}
        effort = None
        for round_number in range(rounds):
            for arm, timing in timings.items():
                progress(f"{work.about}: round {round_number + 1} of {rounds}, {arm}")
                began = now()
                if arm == ENGINE:
                    engine, ours = self._engine(work)
                else:
                    hf = HuggingFace(self.hf_model, self.processor)
                    theirs = ARMS[arm](hf, work.requests[: work.reference_queries])
                took = now() - began
                timing.seconds.append(took / timing.queries)
                if arm == ENGINE:
                    effort = effort or self._effort(engine, work, ours, took)
                elif arm not in agreements:
                    agreements[arm] = _agreement(ours, theirs)
                    self._check(arm, agreements[arm])
        assert effort is not None
        return Measured(work, timings, agreements, effort)

    def _check(self, arm: str, found: Agreement) -> None:
        tolerance = TOLERANCE.get(self.network.dtype)
        if tolerance is not None and (found.largest > tolerance or found.same_texts < found.texts):
            raise KosmosEvalError(
                f"{arm}: answers differ from the engine's: log-probabilities by up to {found.largest:.2g}, "
                f"{found.same_texts} of {found.texts} texts equal; no time is worth anything before this is mended"
            )

    def _effort(self, engine: Engine, work: Work, answers: Sequence[Answer], seconds: float) -> Effort:
        runner = engine.runner
        operations = matrix_operations(self.network.config, engine.images.encoded, runner.computed, runner.read)
        return Effort(
            asked=_asked(work, self.processor, answers),
            computed=runner.computed,
            pictures=engine.images.encoded,
            peak_share=operations / seconds / self.peak,
            kv_bytes=runner.memory.held,
            kv_per_row=runner.memory.per_row,
        )


def rows(measured: Measured) -> Iterator[dict[str, str | int | float]]:
    """One row for each arm, as CSV has them."""
    for arm, timing in measured.timings.items():
        row: dict[str, str | int | float] = {
            "work": measured.work.about, "arm": arm, "queries": timing.queries, "rounds": len(timing.seconds),
            "seconds_per_query": timing.median, "least": min(timing.seconds), "most": max(timing.seconds),
        }  # fmt: skip
        if arm == ENGINE:
            e = measured.effort
            row |= {"asked": e.asked, "computed": e.computed, "pictures": e.pictures, "peak_share": e.peak_share,
                    "kv_bytes": e.kv_bytes, "kv_per_row": e.kv_per_row}  # fmt: skip
        else:
            ratios = measured.ratios(arm)
            row |= {"ratio": statistics.median(ratios), "ratio_least": min(ratios), "ratio_most": max(ratios)}
            if found := measured.agreements.get(arm):
                row |= {"largest_difference": found.largest, "same_choice": found.same_choice,
                        "same_texts": found.same_texts, "texts": found.texts}  # fmt: skip
        yield row
