"""What a sample was asked, made again from the task's data and checked against the hash on record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from kosmos_eval.api import task_over
from kosmos_eval.cell import Cell
from kosmos_eval.data.hub import hub_name
from kosmos_eval.disk import hide_home
from kosmos_eval.errors import KosmosEvalError, PromptError
from kosmos_eval.manifest import Manifest
from kosmos_eval.plan import Asking, demonstration, rationale_requests, request
from kosmos_eval.plugins import task_class
from kosmos_eval.prompt import Segment
from kosmos_eval.record import Record
from kosmos_eval.report.runs import Run
from kosmos_eval.request import Request
from kosmos_eval.store import RATIONALES
from kosmos_eval.task import Sample, Task
from kosmos_eval.template import Template


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as it was put together: each demonstration, then what each stage appends."""

    demos: tuple[tuple[str, tuple[Segment, ...]], ...]
    """(id, segments) of each."""
    request: Request
    same: bool
    """Whether its hash is the one on record: else the data, or the code that makes prompts, have changed since."""


class Sources:
    """The tasks of the runs over their data, each read once; or why one cannot be."""

    def __init__(self, data: Path | None = None, tasks_dir: Path | None = None) -> None:
        self._data, self._tasks_dir = data, tasks_dir
        self._tasks: dict[tuple[str, str, str], Task | str] = {}
        self._samples: dict[int, dict[str, Sample]] = {}

    def task(self, manifest: Manifest) -> Task | str:
        """The task that a run evaluated, or the reason why it is not to be had."""
        key = (manifest.task, manifest.data_path, manifest.split)
        if key not in self._tasks:
            try:
                self._tasks[key] = self._load(manifest)
            except (KosmosEvalError, OSError) as error:
                self._tasks[key] = hide_home(str(error))
        return self._tasks[key]

    def samples(self, task: Task) -> dict[str, Sample]:
        """The evaluated split by id."""
        if id(task) not in self._samples:
            self._samples[id(task)] = {sample.id: sample for sample in task.samples}
        return self._samples[id(task)]

    def _load(self, manifest: Manifest) -> Task:
        kept = manifest.data_folder
        given = "mini" if manifest.data == "mini" else str(self._data or hub_name(kept) or kept)
        cls, folder = task_over(task_class(manifest.task, self._tasks_dir), given)
        task = cls(folder, manifest.split)
        _ = task.samples  # what is wrong with the data is said here, once
        return task


@dataclass(frozen=True, slots=True)
class _Shown:
    """Chooses what was shown."""

    seed: int
    demos: tuple[Sample, ...]

    def choose(self, query: Sample) -> tuple[Sample, ...]:
        return self.demos


class Prompts:
    """The prompts of one run. `missing` says why there are none."""

    def __init__(self, run: Run, sources: Sources) -> None:
        self._run, self._sources = run, sources
        self.missing: str | None = None
        self._task: Task | None = None
        self._asking: Asking | None = None
        found = sources.task(run.manifest)
        if isinstance(found, str):
            self.missing = found
            return
        self._task = found
        try:
            self._asking = self._prepared()
        except KosmosEvalError as error:
            self.missing = str(error)

    def sample(self, sample_id: str) -> Sample | None:
        """The sample as the data have it."""
        return None if self._task is None else self._sources.samples(self._task).get(sample_id)

    def of(self, record: Record) -> Rendered | None:
        """What this response answered. None where the data no longer hold what it takes."""
        sample = self.sample(record.sample_id)
        if sample is None or self._asking is None:
            return None
        try:
            asking = self._asking_for(record, self._asking)
            asked, _ = request(sample, asking)
            demos = asking.chooser.choose(sample)
            written = tuple((d.id, tuple(demonstration(d, asking, images=not asking.text_demos))) for d in demos)
        except (KosmosEvalError, KeyError):
            return None
        return Rendered(written, asked, asked.prompt_hash == record.prompt_hash)

    def _asking_for(self, record: Record, asking: Asking) -> Asking:
        """How a sample was asked. What was retrieved for it stands in its record; it is not looked for again."""
        if self._run.manifest.demos_index is None:
            return asking
        shown = [self._pool[i] for i in record.demos]
        return replace(asking, chooser=_Shown(self._cell.seed, tuple(shown)))

    @cached_property
    def _cell(self) -> Cell:
        m = self._run.manifest
        assert self._task is not None
        try:
            template = Template.model_validate(m.template)
        except ValidationError:
            raise PromptError(f"{m.task} {m.prompt}: the template on record is none of this version's") from None
        demos = m.demos if m.demos_index is None else "fixed"
        plain = m.plain_demo or None
        return Cell(self._task, m.prompt, template, plain, m.shots, demos, m.seed, m.limit, order=m.order)

    @cached_property
    def _pool(self) -> dict[str, Sample]:
        """The samples that demonstrations come from, by id."""
        assert self._task is not None
        retrieved = self._run.manifest.demos_index is not None
        return {s.id: s for s in (self._task.demonstration_pool()[0] if retrieved else self._cell.pool)}

    def _prepared(self) -> Asking:
        """How the run asked, with the rationales that its demonstrations showed."""
        origin = self._run.manifest.rationale
        if origin not in ("field", "model"):
            return self._cell.asking(None)
        rationales = self._of_data(self._pool) if origin == "field" else self._of_model(self._pool)
        return self._cell.asking(rationales)

    def _of_data(self, pool: Mapping[str, Sample]) -> dict[str, str]:
        name = str(self._cell.template.rationale_name)
        return {i: str(demo.fields[name]) for i, demo in pool.items() if name in demo.fields}

    def _of_model(self, pool: Mapping[str, Sample]) -> dict[str, str]:
        """What the model wrote about the demonstrations, as the run has it on record."""
        records = self._run.folder.records(RATIONALES)
        demos = [pool[i] for i in dict.fromkeys(i for i, _ in records) if i in pool]
        found: dict[str, str] = {}
        for asked in rationale_requests(demos, self._cell.asking(None)):
            record = records.get((asked.id, asked.prompt_hash))
            if record is not None and record.response.text is not None:
                found[asked.id] = record.response.text.strip()
        return found
