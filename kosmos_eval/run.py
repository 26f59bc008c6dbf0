"""One run: asks a model what a cell plans and is not answered yet, keeps each answer at once, then scores them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from kosmos_eval.cell import Cell
from kosmos_eval.environment import git_state, versions
from kosmos_eval.errors import DataError
from kosmos_eval.manifest import Manifest, Session
from kosmos_eval.metrics.base import Metric
from kosmos_eval.models.base import Model
from kosmos_eval.outcome import outcome
from kosmos_eval.plan import rationale_requests
from kosmos_eval.prompt import digest
from kosmos_eval.record import Record, finite
from kosmos_eval.request import Request, Response
from kosmos_eval.score import reference_corpus
from kosmos_eval.store import RATIONALES, RESPONSES, Appender, Key, RunFolder

UNIT = 256
"""Requests a work unit. A constant: the units, hence the batches, are the same wherever a run is made or taken up."""

Progress = Callable[[str, int, int], None]
"""(what is under way, done, total): called after each response and each unit that was there already."""

Planned = tuple[Request, tuple[str, ...]]


def silent(what: str, done: int, total: int) -> None:
    """No progress is shown."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run."""

    folder: RunFolder
    manifest: Manifest
    asked: int
    """How many responses this call added; 0 where all were there."""
    errors: Mapping[str, str]
    """Sample id -> why it has no answer, `does not fit` left out: that is a result, and its row says so."""


def run(cell: Cell, model: Model, out: Path, progress: Progress = silent) -> RunResult:
    """Completes one run below `out/runs`. Whatever was answered before is kept; a finished run loads no weights.

    Raises KosmosEvalError for what concerns the whole run; what concerns one sample is in its record.
    """
    folder = RunFolder(run_path(out, cell, model))
    with folder.locked():
        return _Work(cell, model, folder, progress).complete()


def run_path(out: Path, cell: Cell, model: Model) -> Path:
    """Where a run is kept: readable, and different for whatever may not be mixed."""
    manifest = _manifest(cell, model)
    extent = "all" if cell.limit is None else f"limit{cell.limit}"
    parts = (cell.task.name, cell.prompt, f"{cell.shots}shot", cell.demos, f"seed{cell.seed}", manifest.split, extent,
             manifest.data, model.name, manifest.identity[:8])  # fmt: skip
    return out / "runs" / ".".join(re.sub(r"[^\w-]+", "_", part)[:40] for part in parts)


class _Work:
    """The state of one run while it is being completed."""

    def __init__(self, cell: Cell, model: Model, folder: RunFolder, progress: Progress) -> None:
        self.cell, self.model, self.folder, self.progress = cell, model, folder, progress
        self.manifest = _manifest(cell, model)
        self.before = folder.manifest() if folder.exists else None
        if self.before is not None:
            self.manifest = replace_kept(self.manifest, self.before)
        self.asked = 0

    def complete(self) -> RunResult:
        rationales = self._rationales()
        if rationales is not None:
            self.manifest = self.manifest.model_copy(update={"rationales_hash": digest(sorted(rationales.items()))})
        hashes = self._answer(self.cell.plan(rationales), RESPONSES, self.cell.title, len(self.cell.samples))
        if not self._up_to_date():
            self._settle(hashes)
        errors = (self.folder.scores() or {}).get("errors", {})
        if self.manifest.counts.unfit:
            errors = {i: e for i, e in errors.items() if self._fits(i, hashes)}
        return RunResult(self.folder, self.manifest, self.asked, errors)

    def _fits(self, sample_id: str, hashes: Mapping[str, str]) -> bool:
        return self.folder.records()[sample_id, hashes[sample_id]].response.fits

    def _rationales(self) -> dict[str, str] | None:
        """What the demonstrations say before they answer, by sample id; None where they show none."""
        origin = self.cell.rationale_origin
        if origin == "field":
            return self.cell.field_rationales()
        return self._model_rationales() if origin == "model" else None

    def _model_rationales(self) -> dict[str, str]:
        """The model's own zero-shot rationales of the demonstrations: made once, then kept with the run."""
        demos = self.cell.rationale_demos
        planned = ((request, ()) for request in rationale_requests(demos, self.cell.asking(None)))
        hashes = self._answer(planned, RATIONALES, f"{self.cell.title}: rationales", len(demos))
        records = self.folder.records(RATIONALES)
        found: dict[str, str] = {}
        for demo in demos:
            text = records[demo.id, hashes[demo.id]].response.text
            if text is None:
                reason = records[demo.id, hashes[demo.id]].response.error
                raise DataError(f"{self.cell.title}: no rationale for demonstration {demo.id!r}: {reason}")
            found[demo.id] = text.strip()
        return found

    def _answer(self, planned: Iterable[Planned], file: str, title: str, total: int) -> dict[str, str]:
        """Has every unit of a plan answered; the prompt hash of each sample, in the plan's order."""
        kept = {key for key, record in self.folder.records(file).items() if record.settled}
        hashes: dict[str, str] = {}
        done = 0
        self.progress(title, 0, total)
        for number, unit in enumerate(_units(planned)):
            keys = [(request.id, request.prompt_hash) for request, _ in unit]
            hashes.update(keys)
            missing = {key for key in keys if key not in kept}
            done += len(unit) - len(missing)
            self.progress(title, done, total)
            if missing:
                with self.folder.appending(file) as appender:
                    for record in self._ask(unit, number):
                        if record.key in missing:
                            self._keep(appender, record)
                            done += 1
                            self.progress(title, done, total)
                    appender.sync()
        return hashes

    def _ask(self, unit: Sequence[Planned], number: int) -> Iterator[Record]:
        """One unit's records, as the model yields them. It is run whole, so that its batches are what they were."""
        began = time.perf_counter()
        answered: set[int] = set()
        for index, response in self.model.run(request for request, _ in unit):
            request, demos = unit[index]
            answered.add(index)
            now = time.perf_counter()
            yield Record(request.id, request.prompt_hash, demos, _own(response, request), number, now - began)
            began = now
        if len(answered) != len(unit):
            raise RuntimeError(f"model {self.model.name!r} answered {len(answered)} of {len(unit)} requests")

    def _keep(self, appender: Appender, record: Record) -> None:
        if not self.asked:
            self._open_session()
        appender.append(record)
        self.asked += 1

    def _open_session(self) -> None:
        """Notes who answers from here on, and that the run is under way again."""
        session = Session(
            started=_now(), model_info=_plain(self.model.info), versions=versions(), git=git_state(Path.cwd())
        )
        update = {"status": "running", "sessions": [*self.manifest.sessions, session]}
        self.manifest = self.manifest.model_copy(update=update)
        self.manifest.write(self.folder.path)

    def _up_to_date(self) -> bool:
        """Whether the folder's scores are of these very responses, by these metrics, and made by this version."""
        scores = self.folder.scores()
        if self.asked or scores is None or not _scorer(self.cell).items() <= scores.items():
            return False
        return self.manifest.status == "finished" and self.manifest == self.before

    def _settle(self, hashes: Mapping[str, str]) -> None:
        """Writes what scoring needs, the scores, and the manifest of a finished run, in this order."""
        cell = self.cell
        self.folder.write_samples(
            {"id": s.id, "prompt_hash": hashes[s.id], "target": s.target, "group": s.group, "label": s.label,
             "fields": dict(s.fields), "images": [image.name for image in s.images]}
            for s in cell.samples
        )  # fmt: skip
        if any(_counts_over_split(metric) for metric in cell.task.metrics):
            self.folder.write_references(reference_corpus(cell.task.samples))
        found = outcome(self.folder, cell.task.metrics)
        scores = {**found.to_json(), **_scorer(cell)}
        self.folder.write_scores(scores, ({"id": i, "values": dict(v)} for i, v in found.per_sample.items()))
        self.manifest = self.manifest.model_copy(update={"status": "finished", "counts": found.counts})
        self.manifest.write(self.folder.path)


def _manifest(cell: Cell, model: Model) -> Manifest:
    """The manifest of a run that begins now."""
    info = model.info
    demonstrations = None
    if cell.chooser.shots and cell.demos != "random":
        demonstrations = [demo.id for demo in cell.chooser.order[: cell.chooser.shots]]
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
        demos=cell.demos,
        demos_same_split=cell.demos_same_split,
        demonstrations=demonstrations,
        rationale=cell.rationale_origin,
        rationales_hash=None,
        seed=cell.seed,
        split=cell.task.split,
        limit=cell.limit,
        data=cell.task.data_label,
        data_path=str(cell.task.data.resolve()),
        data_fingerprint=cell.data_fingerprint,
    )


def replace_kept(new: Manifest, old: Manifest) -> Manifest:
    """The new manifest, with what an earlier one noted and this call does not decide."""
    kept: dict[str, Any] = {"created": old.created, "device": old.device, "sessions": old.sessions}
    if old.status == "finished":
        kept |= {"status": old.status, "counts": old.counts}
    return new.model_copy(update=kept)


def _units(planned: Iterable[Planned]) -> Iterator[list[Planned]]:
    iterator = iter(planned)
    while unit := list(islice(iterator, UNIT)):
        yield unit


def _own(response: Response, request: Request) -> Response:
    """The response under the id that was asked, its log-probabilities checked."""
    return finite(response if response.id == request.id else replace(response, id=request.id))


def _scorer(cell: Cell) -> dict[str, Any]:
    """What turns responses into scores: another version, or metrics that were edited, score them again."""
    metrics = [re.sub(r" at 0x[0-9a-fA-F]+", "", repr(metric)) for metric in cell.task.metrics]
    return {"made_by": versions().get("kosmos-eval"), "metrics": metrics}


def _counts_over_split(metric: Metric) -> bool:
    return type(metric).with_corpus is not Metric.with_corpus


def _plain(info: Mapping[str, Any]) -> dict[str, Any]:
    kept = (str, int, float, bool, type(None))
    return {key: value if isinstance(value, kept) else str(value) for key, value in info.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


__all__ = ["UNIT", "Key", "Progress", "RunResult", "run", "run_path", "silent"]
