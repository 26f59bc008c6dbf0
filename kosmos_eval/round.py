"""A round: cells that are asked together, from the opening of their runs to their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kosmos_eval.cell import Cell
from kosmos_eval.errors import DataError, KosmosEvalError, ModelError, PromptError
from kosmos_eval.executor import Answer
from kosmos_eval.faults import OnError
from kosmos_eval.job import Job, RunResult, Track
from kosmos_eval.metrics.java import JavaError
from kosmos_eval.record import Record
from kosmos_eval.request import Request
from kosmos_eval.store import Key, RunBusyError
from kosmos_eval.work import WorkUnit, unit_samples

What = Literal["index", "rationales", "answers"]
Progress = Callable[[Cell, What, int, int], None]
"""(cell, what is asked for, done, total): called after each response and each unit that was there already."""

FAULTS = (DataError, PromptError, JavaError, RunBusyError)
"""What is a cell's own fault and stops no other cell."""


@dataclass(frozen=True, slots=True)
class CellFailure:
    """A cell that could not be run, and why; the other cells were."""

    cell: Cell
    error: KosmosEvalError
    model: str
    """The name of the model that was to answer."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One request of a unit and where its answer goes."""

    track: Track
    request: Request
    demos: tuple[str, ...]
    key: Key


@dataclass(slots=True)
class _Flight:
    """A unit that is under way: `waiting` for these answers, of which the `wanted` ones are kept."""

    entries: Sequence[_Entry]
    wanted: frozenset[int]
    waiting: set[int]
    records: dict[int, Record] = field(default_factory=dict)


class Round:
    """Plans units over several runs and keeps their answers. `planned` is set once the last unit was handed out."""

    def __init__(self, jobs: Sequence[Job], what: What, progress: Progress, on_error: OnError = "record") -> None:
        self.jobs, self.what, self.progress, self.on_error = jobs, what, progress, on_error
        self.planned = False
        self._tracks: list[Track] = []
        self._done: dict[Job, RunResult | CellFailure] = {}
        self._flights: dict[WorkUnit, _Flight] = {}

    @property
    def finished(self) -> bool:
        return self.planned and not self._flights

    def units(self) -> Iterator[WorkUnit]:
        """Opens the runs and plans what they lack. A unit none of whose answers is missing is not handed out."""
        for job in self.jobs:
            self._attempt(job, self._open)
        alive = list(self._tracks)
        size, number = unit_samples(len(alive)), 0
        while entries := list(self._window(alive, size)):
            states = [entry.track.state(entry.key, entry.request) for entry in entries]
            self._count_kept([entry.track for entry, state in zip(entries, states, strict=True) if state == "kept"])
            if "new" not in states:  # it was committed before: only what failed in it is asked again
                entries = [entry for entry, state in zip(entries, states, strict=True) if state == "stale"]
                states = ["stale"] * len(entries)
            if entries:
                unit = WorkUnit(number, tuple(entry.request for entry in entries))
                missing = frozenset(i for i, state in enumerate(states) if state != "kept")
                self._flights[unit] = _Flight(entries, missing, set(range(len(entries))))
                yield unit
            number += 1

    def keep(self, answer: Answer) -> bool:
        """Notes an answer. True if it was the last one of its unit: what was missing of it is then committed."""
        flight = self._flights[answer.unit]
        if answer.index not in flight.waiting:
            return False  # an answer that came twice
        flight.waiting.remove(answer.index)
        if answer.index in flight.wanted:
            entry = flight.entries[answer.index]
            if self.on_error == "stop" and answer.response.error is not None and answer.response.fits:
                raise ModelError(
                    f"{entry.track.job.cell.title}: {entry.request.id}: {answer.response.error}; stopped by --on-error "
                    "stop; what was committed is kept"
                )
            number, seconds = answer.unit.number, answer.seconds
            record = Record(*entry.key, entry.demos, answer.response, number, seconds, answer.files)
            flight.records[answer.index] = record
            entry.track.done += 1
            self._report(entry.track)
        if flight.waiting:
            return False
        added: dict[Track, list[Record]] = {}
        for i in sorted(flight.records):
            added.setdefault(flight.entries[i].track, []).append(flight.records[i])
        for track, records in added.items():
            track.commit(records)
        del self._flights[answer.unit]
        return True

    def settle(self) -> Iterator[tuple[Job, RunResult | CellFailure]]:
        """Scores and closes each run whose answers this round asked for; one after the other, as they are taken."""
        tracks = {track.job: track for track in self._tracks}
        for job in self.jobs:
            if job in tracks and job not in self._done and self.what == "answers":
                self._attempt(job, lambda job: self._settle(job, tracks[job]))
            job.close()
            if job in self._done:
                yield job, self._done[job]

    def close(self) -> None:
        for job in self.jobs:
            job.close()

    def _attempt(self, job: Job, step: Callable[[Job], None]) -> None:
        try:
            step(job)
        except FAULTS as error:
            self._done[job] = CellFailure(job.cell, error, job.model.name)
            job.close()

    def _open(self, job: Job) -> None:
        job.open()
        if self.what == "rationales":
            track = job.rationale_track()
        else:
            track = job.answer_track()
            if job.was_finished and _all_kept(track):
                # What is finished is no part of the plan any more: the others are asked without it.
                self._report(track)
                self._settle(job, track)
                job.close()
                return
            if track.hashes:
                track = job.answer_track()  # from the beginning again
        self._tracks.append(track)
        self._report(track)

    def _settle(self, job: Job, track: Track) -> None:
        self._done[job] = job.settle(bytes(track.hashes))

    def _window(self, alive: list[Track], size: int) -> Iterator[_Entry]:
        """The requests of the next samples, sample by sample; a run whose plan fails leaves the round."""
        for _ in range(size):
            for track in list(alive):
                try:
                    following = track.next()
                except FAULTS as error:
                    self._done[track.job] = CellFailure(track.job.cell, error, track.job.model.name)
                    following = None
                if following is None:
                    alive.remove(track)
                else:
                    (request, demos), key = following
                    yield _Entry(track, request, demos, key)
            if not alive:
                return

    def _count_kept(self, kept: Sequence[Track]) -> None:
        for track in kept:
            track.done += 1
        for track in dict.fromkeys(kept):
            self._report(track)

    def _report(self, track: Track) -> None:
        self.progress(track.job.cell, self.what, track.done, track.total)


def _all_kept(track: Track) -> bool:
    """Whether every answer that is planned is there; takes the plan to its end, or to the first that is missing."""
    while following := track.next():
        (request, _), key = following
        if track.state(key, request) != "kept":
            return False
        track.done += 1
    return True
