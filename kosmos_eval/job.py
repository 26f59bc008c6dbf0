"""A job: one run while it is being completed. It keeps answers at once, and scores them when all are there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from kosmos_eval.cell import Cell
from kosmos_eval.demos import sampler_of
from kosmos_eval.disk import discreet
from kosmos_eval.environment import git_state, versions
from kosmos_eval.errors import DataError
from kosmos_eval.manifest import Manifest, Session
from kosmos_eval.metrics.base import counts_over_split
from kosmos_eval.models.base import Model
from kosmos_eval.outcome import keep_scores, scorer
from kosmos_eval.plan import rationale_requests
from kosmos_eval.prompt import digest
from kosmos_eval.record import Record
from kosmos_eval.request import Request
from kosmos_eval.score import reference_corpus
from kosmos_eval.store import RATIONALES, RESPONSES, Appender, Index, Key, RunFolder

Planned = tuple[Request, tuple[str, ...]]
State = Literal["kept", "stale", "new"]
"""Of an answer: there; there, but a failure or about another picture; not there."""
_HASH_BYTES = 8


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run."""

    cell: Cell
    folder: RunFolder
    manifest: Manifest
    asked: int
    """How many responses this call added; 0 where all were there."""
    errors: Mapping[str, str]
    """Sample id -> why it has no answer, `does not fit` left out: that is a result, and its row says so."""


def run_path(out: Path, cell: Cell, model: Model) -> Path:
    """Where a run is kept: readable, and different for whatever may not be mixed."""
    manifest = manifest_of(cell, model)
    extent = "all" if cell.limit is None else f"limit{cell.limit}"
    order = [f"order{cell.order}"] if cell.order else []
    parts = (cell.task.name, cell.prompt, f"{cell.shots}shot", manifest.demos, *order, f"seed{cell.seed}",
             manifest.split, extent, manifest.data, model.name, manifest.identity[:8])  # fmt: skip
    return out / "runs" / ".".join(re.sub(r"[^\w-]+", "_", part)[:40] for part in parts)


class Track:
    """One response file of a job while it is filled: what is planned for it, and what is there already."""

    def __init__(self, job: Job, file: str, planned: Iterator[Planned], total: int) -> None:
        self.job, self.file, self.total = job, file, total
        self.planned = planned
        self._index = job.index(file)
        self.done = 0
        self.hashes = bytearray()
        """The prompt hashes of what was planned so far, one after the other."""

    def next(self) -> tuple[Planned, Key] | None:
        """What is planned next, with its key; None at the end."""
        planned = next(self.planned, None)
        if planned is None:
            return None
        key = planned[0].id, planned[0].prompt_hash
        self.hashes += bytes.fromhex(key[1])
        return planned, key

    def state(self, key: Key, request: Request) -> State:
        """What there was of an answer when the job was opened."""
        if self._index.settled(key, request):
            return "kept"
        return "stale" if key in self._index else "new"

    def kept(self) -> int:
        """How many of the planned answers are there; takes the plan to its end."""
        there = 0
        while following := self.next():
            (request, _), key = following
            there += self.state(key, request) == "kept"
        return there

    def commit(self, records: Sequence[Record]) -> None:
        """Keeps what a work unit adds and waits until it is on the disk."""
        self.job.commit(self.file, records)


class Job:
    """A cell, a model and the run's folder, locked from `open` to `close`."""

    def __init__(self, cell: Cell, model: Model, out: Path) -> None:
        self.cell, self.model = cell, model
        self.folder = RunFolder(run_path(out, cell, model))
        self.asked = 0
        self._held = ExitStack()
        self._appenders: dict[str, Appender] = {}
        self._indexes: dict[str, Index] = {}

    def open(self) -> None:
        """Locks the folder and reads what is there. Raises RunBusyError, or DataError for damage."""
        self._held.enter_context(self.folder.locked())
        self.look()

    def look(self) -> None:
        """Reads what is there, and neither locks nor writes anything."""
        self.manifest = manifest_of(self.cell, self.model)
        self.before = self.folder.manifest() if self.folder.exists else None
        if self.before is not None:
            self.manifest = _with_kept(self.manifest, self.before)

    def close(self) -> None:
        self._held.close()
        self._appenders.clear()
        self._indexes.clear()

    def rationale_track(self) -> Track:
        """The model's own zero-shot rationales of the demonstrations: made once, then kept with the run."""
        demos = self.cell.rationale_demos
        return Track(self, RATIONALES, ((request, ()) for request in self._rationale_requests()), len(demos))

    def answer_track(self) -> Track:
        """The samples' answers. Raises DataError where a demonstration's rationale could not be had."""
        rationales = self.rationales()
        if rationales is not None:
            self.manifest = self.manifest.model_copy(update={"rationales_hash": digest(sorted(rationales.items()))})
        return Track(self, RESPONSES, self.cell.plan(rationales), len(self.cell.samples))

    @property
    def was_finished(self) -> bool:
        return self.before is not None and self.before.status == "finished"

    def commit(self, file: str, records: Sequence[Record]) -> None:
        if not self.asked:
            self._open_session()
        self._appender(file).commit(records)
        self.asked += len(records)

    def index(self, file: str) -> Index:
        """What was there when the job was opened."""
        if file not in self._indexes:
            self._indexes[file] = self._held.enter_context(closing(self.folder.index(file)))
        return self._indexes[file]

    def _appender(self, file: str) -> Appender:
        if file not in self._appenders:
            self._appenders[file] = self._held.enter_context(self.folder.appending(file))
        return self._appenders[file]

    def settle(self, hashes: bytes) -> RunResult:
        """Scores the run, unless its scores are up to date. `hashes` are those of its samples' prompts."""
        if not self._up_to_date(hashes):
            self._write(hashes)
        errors = (self.folder.scores() or {}).get("errors", {})
        if self.manifest.counts.unfit:
            errors = self._not_unfit(errors)
        return RunResult(self.cell, self.folder, self.manifest, self.asked, errors)

    def _not_unfit(self, errors: Mapping[str, str]) -> dict[str, str]:
        keys = [(row["id"], row["prompt_hash"]) for row in self.folder.each_sample() if row["id"] in errors]
        with closing(self.folder.index()) as index:
            records = {key[0]: index.record(key) for key in keys}
        return {i: error for i, error in errors.items() if (found := records.get(i)) is None or found.response.fits}

    def _rationale_requests(self) -> Iterator[Request]:
        return rationale_requests(self.cell.rationale_demos, self.cell.asking(None))

    def rationales(self) -> dict[str, str] | None:
        """What the demonstrations say before they answer, by sample id; None where they show none."""
        origin = self.cell.rationale_origin
        if origin == "field":
            return self.cell.field_rationales()
        return self._model_rationales() if origin == "model" else None

    def _model_rationales(self) -> dict[str, str]:
        records = self.folder.records(RATIONALES)
        found: dict[str, str] = {}
        for request in self._rationale_requests():
            response = records[request.id, request.prompt_hash].response
            if response.text is None:
                raise DataError(f"{self.cell.title}: no rationale for demonstration {request.id!r}: {response.error}")
            found[request.id] = response.text.strip()
        return found

    def _open_session(self) -> None:
        """Notes who answers from here on, and that the run is under way again."""
        session = Session(started=_now(), model_info=_plain(self.model.info), versions=versions(),
                          git=git_state(Path.cwd()))  # fmt: skip
        update = {"status": "running", "sessions": [*self.manifest.sessions, session]}
        self.manifest = self.manifest.model_copy(update=update)
        self.manifest.write(self.folder.path)

    def _up_to_date(self, hashes: bytes) -> bool:
        """Whether the folder's scores are of these samples and responses, by these metrics, made by this version."""
        scores = self.folder.scores()
        if self.asked or scores is None or not scorer(self.cell.task.metrics).items() <= scores.items():
            return False
        if self.manifest.status != "finished" or self.manifest != self.before:
            return False
        return self.folder.has_samples(self._samples(hashes))

    def _samples(self, hashes: bytes) -> Iterator[dict[str, Any]]:
        """What scoring needs of the samples, and which of the responses stored under their ids are theirs."""
        for i, s in enumerate(self.cell.samples):
            prompt_hash = hashes[i * _HASH_BYTES : (i + 1) * _HASH_BYTES].hex()
            yield {"id": s.id, "prompt_hash": prompt_hash, "target": s.target, "group": s.group, "label": s.label,
                   "fields": dict(s.fields), "images": [image.name for image in s.images]}  # fmt: skip

    def _write(self, hashes: bytes) -> None:
        """Writes what scoring needs, the scores, and the manifest of a finished run, in this order."""
        cell = self.cell
        self.folder.write_samples(self._samples(hashes))
        if any(map(counts_over_split, cell.task.metrics)):
            self.folder.write_references(reference_corpus(cell.task.samples))
        found = keep_scores(self.folder, cell.task.metrics)
        self.manifest = self.manifest.model_copy(update={"status": "finished", "counts": found.counts})
        self.manifest.write(self.folder.path)


def manifest_of(cell: Cell, model: Model) -> Manifest:
    """The manifest of a run that begins now."""
    info = model.info
    one_set = cell.chooser.one_set
    return Manifest(
        created=_now(),
        model=model.name,
        model_fingerprint=model.fingerprint,
        dtype=str(info.get("dtype", "unknown")),
        device=str(info.get("device", "unknown")),
        task=cell.task.name,
        prompt=cell.prompt,
        template=cell.template.model_dump(mode="json", by_alias=True),
        plain_demo=cell.plain_demo or "",
        prompt_source=cell.template.source,
        prompt_hash=cell.prompt_hash,
        shots=cell.shots,
        demos=sampler_of(cell.demos)[0],
        demos_by=cell.index.embedder if cell.index else None,
        demos_index=cell.index.fingerprint if cell.index else None,
        demos_fingerprint=cell.demos_fingerprint,
        order=cell.order,
        demos_same_split=cell.demos_same_split,
        demonstrations=None if one_set is None else [demo.id for demo in one_set],
        rationale=cell.rationale_origin,
        rationales_hash=None,
        seed=cell.seed,
        split=cell.task.split,
        limit=cell.limit,
        data=cell.task.data_label,
        official_count=cell.task.expected_counts().get(cell.task.split, 0),
        data_path=discreet(cell.task.data),
        data_fingerprint=cell.data_fingerprint,
    )


def _with_kept(new: Manifest, old: Manifest) -> Manifest:
    """The new manifest, with what an earlier one noted and this call does not decide."""
    kept: dict[str, Any] = {"created": old.created, "device": old.device, "sessions": old.sessions}
    if old.status == "finished":
        kept |= {"status": old.status, "counts": old.counts}
    return new.model_copy(update=kept)


def _plain(info: Mapping[str, Any]) -> dict[str, Any]:
    kept = (str, int, float, bool, type(None))
    return {key: value if isinstance(value, kept) else str(value) for key, value in info.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
