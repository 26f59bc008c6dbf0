"""What a sweep will take, told before it is run: samples, requests, pictures, tokens, what is there already, time.

Nothing is asked and nothing is written. Samples, requests and what is stored are counted. Tokens are counted on whole
work units, spread evenly over the plan, and projected to all of it: exact where those units are the plan. Time is what
earlier runs of the same model took for the same task, prompt and shots, and unknown where there was none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.cell import Cell
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.job import Job
from kosmos_eval.manifest import MANIFEST, Manifest
from kosmos_eval.models.base import Model
from kosmos_eval.plan import plan, rationale_requests
from kosmos_eval.prompt import Image
from kosmos_eval.request import Request, images_of
from kosmos_eval.store import RESPONSES, RunFolder
from kosmos_eval.tables.origin import samples_per_second
from kosmos_eval.task import Sample
from kosmos_eval.work import together, unit_samples

if TYPE_CHECKING:
    from kosmos_eval.engine.tally import Tally
    from kosmos_eval.kosmos.processor import Processor

LOOKED_AT = 2
"""Work units of each group of runs whose tokens are counted; more would be slower and hardly closer."""
LOOKED_THROUGH = 1000
"""Samples, up to which those demonstrations are counted that each draws for itself."""

Speeds = Mapping[tuple[object, ...], float]


@dataclass(slots=True)
class RunForecast:
    """What one run will take. Tokens are positions of prompts, pictures included, of what is left to be asked."""

    cell: Cell
    model: str
    samples: int
    requests: int
    """Samples, and the demonstrations whose rationale the model writes first."""
    stored: int
    """Requests that are answered already."""
    pictures: frozenset[str]
    tokens_alone: float | None = None
    """If each request were asked by itself; None where the model's tokenizer is not known."""
    tokens: float | None = None
    """With shared beginnings computed once: this run's part."""
    written: float | None = None
    """The most that may be written."""
    unfit: float | None = None
    """Requests that the model has no room for."""
    exact: bool = False
    """Whether all that is left was looked at, and no rationale is wanting."""
    per_second: float | None = None
    """Requests a second, as measured in earlier runs."""

    @property
    def left(self) -> int:
        return self.requests - self.stored

    @property
    def seconds(self) -> float | None:
        """What the rest will take; None where nothing was measured."""
        if not self.left:
            return 0.0
        return self.left / self.per_second if self.per_second else None


def forecast(cells: Sequence[Cell], model: Model, processor: Processor | None, out: Path) -> list[RunForecast]:
    """A forecast of each run of one model, in the order of the cells. `processor` counts tokens, where there is one.

    Demonstrations that a model is to retrieve are not known before: they are drawn, and nothing is taken to be stored.
    """
    speeds = _speeds(out, model)
    found: dict[Cell, RunForecast] = {}
    drawn = {cell: replace(cell, demos="random") if cell.retrieves and cell.index is None else cell for cell in cells}
    for given in together(cells):
        group = [drawn[cell] for cell in given]
        queried = frozenset(
            _place(image) for sample in group[0].samples for image in (*sample.images, *sample.candidates.values())
        )
        left: dict[Cell, _Left] = {}
        for cell, own in zip(group, given, strict=True):
            left[cell] = rest = _left(Job(cell, model, out), cell is own)
            found[cell] = RunForecast(cell, model.name, len(cell.samples), rest.requests, rest.stored,
                                      queried | _demonstrated(cell))  # fmt: skip
            found[cell].per_second = speeds.get(_speed_key(cell))
        unfinished = [cell for cell in group if found[cell].left]
        if unfinished:
            _look(unfinished, left, found, processor)
    return [_as_given(cell, found[drawn[cell]]) for cell in cells]


def _as_given(cell: Cell, found: RunForecast) -> RunForecast:
    return found if found.cell is cell else replace(found, cell=cell, exact=False)


def _demonstrated(cell: Cell) -> frozenset[str]:
    """The pictures of demonstrations; where each of many queries draws its own, of all that may be drawn."""
    shown: Iterable[Sample] = cell.chooser.one_set or () if cell.shots else ()
    if cell.shots and cell.chooser.one_set is None:
        few = len(cell.samples) <= LOOKED_THROUGH
        shown = (demo for sample in cell.samples for demo in cell.chooser.choose(sample)) if few else cell.pool
    candidates = "<candidate>" in cell.template.demo
    return frozenset(_place(image) for demo in shown for image in _shown_of(demo, candidates))


def _shown_of(demo: Sample, candidates: bool) -> tuple[Image, ...]:
    """The pictures that a demonstration shows: its own and, of its candidates, the right one."""
    right = demo.candidates.get(str(demo.target)) if candidates else None
    return demo.images if right is None else (*demo.images, right)


def _place(image: Image) -> str:
    """Where a picture is: several may lie in one file."""
    return image.name if image.record is None else f"{image.name} {image.record}"


@dataclass(frozen=True, slots=True)
class _Left:
    """What a run's folder lacks. `rationales` are those of the plan: None where there are none, or some are wanting."""

    requests: int
    stored: int
    wanting: bool = False
    rationales: Mapping[str, str] | None = None


def _left(job: Job, known: bool) -> _Left:
    """Looks into a run's folder, if it is `known` which one that is; without a lock, to keep nobody from working."""
    cell = job.cell
    asked_first = len(cell.rationale_demos) if cell.rationale_origin == "model" else 0
    requests = len(cell.samples) + asked_first
    if not (known and job.folder.exists):
        shown = cell.field_rationales() if cell.rationale_origin == "field" else None
        return _Left(requests, 0, bool(asked_first), shown)
    try:
        job.look()
        first = job.rationale_track().kept() if asked_first else 0
        if first < asked_first:
            return _Left(requests, first, True)
        return _Left(requests, first + job.answer_track().kept(), False, job.rationales())
    finally:
        job.close()


def _look(
    cells: Sequence[Cell], left: Mapping[Cell, _Left], found: Mapping[Cell, RunForecast], processor: Processor | None
) -> None:
    """Counts what the work units of a group take, on a few of them."""
    samples, size = cells[0].samples, unit_samples(len(cells))
    starts = range(0, len(samples), size)
    units = [starts[len(starts) * k // LOOKED_AT] for k in range(min(LOOKED_AT, len(starts)))]
    seen = sum(len(samples[start : start + size]) for start in units)
    counted: defaultdict[Cell, list[tuple[Request, Tally | None]]] = defaultdict(list)
    for start in units:
        planned = list(_unit(cells, left, samples[start : start + size]))
        for (cell, request), count in zip(planned, _tallies([r for _, r in planned], processor), strict=True):
            counted[cell].append((request, count))
    for cell in cells:
        own = found[cell]
        if not any(images_of(request) for request, _ in counted[cell]):
            own.pictures = frozenset()
        tallies = [count for _, count in counted[cell] if count is not None]
        if not tallies:
            continue
        share = (len(samples) / seen) * (own.left / own.requests)
        first, weight = _rationales_first(cell, left[cell], processor)
        own.exact = seen == len(samples) and not own.stored and not left[cell].wanting
        own.tokens_alone = share * sum(t.alone for t in tallies) + weight * sum(t.alone for t in first)
        own.tokens = share * sum(t.shared for t in tallies) + weight * sum(t.shared for t in first)
        own.written = share * sum(t.written for t in tallies) + weight * sum(t.written for t in first)
        own.unfit = share * sum(not t.fits for t in tallies)


def _unit(
    cells: Sequence[Cell], left: Mapping[Cell, _Left], samples: Sequence[Sample]
) -> Iterator[tuple[Cell, Request]]:
    """The requests of a work unit, sample by sample and of a sample run by run, as a round has them."""
    plans = {cell: plan(samples, cell.asking(_shown(cell, left[cell]))) for cell in cells}
    for _ in samples:
        for cell in cells:
            yield cell, next(plans[cell])[0]


def _shown(cell: Cell, left: _Left) -> Mapping[str, str] | None:
    """The rationales that demonstrations show; empty ones in the place of those that are not written yet."""
    if left.wanting:
        return {demo.id: "" for demo in cell.rationale_demos}
    return left.rationales


def _rationales_first(cell: Cell, left: _Left, processor: Processor | None) -> tuple[list[Tally], float]:
    """What the model's rationales of demonstrations take that are to be written first, and how often that counts."""
    demos = cell.rationale_demos if left.wanting else []
    some = list(islice(rationale_requests(demos, cell.asking(None)), unit_samples(1)))
    return [t for t in _tallies(some, processor) if t is not None], len(demos) / len(some) if some else 0.0


def _tallies(requests: list[Request], processor: Processor | None) -> Sequence[Tally | None]:
    if processor is None:
        return [None] * len(requests)
    from kosmos_eval.engine.tally import tally

    return tally(requests, processor)


def _speeds(out: Path, model: Model) -> Speeds:
    """Requests a second of the model's earlier runs below a folder, on the same device, by what was asked."""
    folders: defaultdict[tuple[object, ...], list[RunFolder]] = defaultdict(list)
    for path in sorted(out.rglob(MANIFEST)) if out.is_dir() else ():
        try:
            m = Manifest.read(path.parent)
        except KosmosEvalError:
            continue  # the command that reads it says so
        same = (m.model_fingerprint, m.dtype, m.device) == (
            model.fingerprint, str(model.info.get("dtype", "unknown")), str(model.info.get("device", "unknown"))
        )  # fmt: skip
        if same and (path.parent / RESPONSES).is_file():
            folders[m.task, m.prompt, m.shots, m.data].append(RunFolder(path.parent))
    measured = {key: samples_per_second(found) for key, found in folders.items()}
    return {key: speed for key, speed in measured.items() if speed}


def _speed_key(cell: Cell) -> tuple[object, ...]:
    return cell.task.name, cell.prompt, cell.shots, cell.task.data_label
