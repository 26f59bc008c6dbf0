"""A sweep, planned: every cell of every model, checked before the first is run; then run, model by model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from kosmos_eval.api import built_in_tasks, has_data, load_task
from kosmos_eval.cell import Cell
from kosmos_eval.demos import sampler_of
from kosmos_eval.errors import CheckpointError, KosmosEvalError, nearest
from kosmos_eval.executor import Engine, InProcess, in_process
from kosmos_eval.faults import OnError
from kosmos_eval.forecast import RunForecast, forecast
from kosmos_eval.models import model_for_run, processor_for
from kosmos_eval.models.base import Model
from kosmos_eval.plugins import all_tasks, prompt_file
from kosmos_eval.run import CellFailure, Done, Progress, complete, silent
from kosmos_eval.sweep_file import Exclusion, Location, ModelSpec, Source, SweepFile
from kosmos_eval.task import Task

Values = Mapping[str, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Planned:
    """The cells of one model."""

    model: ModelSpec
    cells: list[Cell]


class Planner:
    """Makes the cells of a sweep. A task over its data is read once, whatever the number of its cells."""

    def __init__(self, file: SweepFile, source: Source) -> None:
        self.file, self.source = file, source
        self.tasks_dir = Path(file.tasks_dir) if file.tasks_dir else None
        self._tasks: dict[tuple[str, str, str | None], Task] = {}
        self._used: set[int] = set()

    def plan(self) -> list[Planned]:
        """Raises UsageError, PromptError or DataError, with the key that is at fault, for whatever cannot be run."""
        with self._at("tasks_dir"):
            known = all_tasks(self.tasks_dir)
        if self.file.tasks == ["all"]:
            names = [name for name in built_in_tasks() if self._has_data(name)]
            if not names:
                raise self.source.error(("data",), "no task has data there; `all` looks for a folder per task in it")
        else:
            names = list(dict.fromkeys(self.file.tasks))
        for place, name in enumerate(self.file.tasks):
            if name not in known and self.file.tasks != ["all"]:
                raise self.source.error(("tasks", place), f"no task {name!r}{nearest(name, known)}")
        for name in self.file.overrides:
            if name not in names:
                raise self.source.error(("overrides", name), f"no task of this sweep{nearest(name, names)}")
        cells = [cell for name in names for cell in self._cells(name)]
        planned = [
            Planned(spec, [cell for cell in cells if not self._excluded(spec.name, _of(cell))])
            for spec in self.file.models
        ]
        for place in range(len(self.file.exclude)):
            if place not in self._used:
                raise self.source.error(("exclude", place), "leaves out no run: is a value misspelt?")
        return planned

    def _has_data(self, name: str) -> bool:
        return all(has_data(name, data) for data in self.file.axes(name).data)

    def _cells(self, name: str) -> Iterator[Cell]:
        axes = self.file.axes(name)
        with self._at("prompt_files"):
            templates = prompt_file(name, Path(self.file.prompt_files) if self.file.prompt_files else None,
                                    self.tasks_dir)  # fmt: skip
        own = self.file.overrides.get(name, {})
        looked_at = set()
        for data, split in product(axes.data, axes.splits):
            with self._at(*self._key(own, name, "splits" if split else "data")):
                task = self._task(name, data, split)
                _ = task.samples  # read here, where a wrong split is the split's fault
            if (ground := (task.data.resolve(), task.split)) in looked_at:
                continue  # the split that is meant where none is named, named as well
            looked_at.add(ground)
            for seed, demos in product(axes.seeds, axes.demos):
                with self._at(*self._key(own, name, "demos")):
                    sampler_of(demos)
                for prompt, shots in product(axes.prompts, axes.shots):
                    if self._excluded(None, _values(task, prompt, shots, seed, demos)):
                        continue  # it may be one that cannot be made
                    with self._at(*self._key(own, name, "prompts")):
                        templates[prompt]  # the prompt's name, before anything else about the cell
                    with self._at(*self._key(own, name, "shots")):
                        cell = Cell.of(task, templates, prompt, shots=shots, demos=demos, seed=seed, limit=axes.limit)
                    yield from cell.in_orders(axes.demo_orders)

    def _task(self, name: str, data: str, split: str | None) -> Task:
        if (name, data, split) not in self._tasks:
            self._tasks[name, data, split] = load_task(name, data, split, self.tasks_dir)
        return self._tasks[name, data, split]

    def _excluded(self, model: str | None, values: Values) -> bool:
        """Whether an entry leaves a run out; where no model is said, by the entries that name none."""
        found = [place for place, entry in enumerate(self.file.exclude) if _matches(entry, model, values)]
        self._used.update(found)
        return bool(found)

    def _key(self, own: dict[str, object], name: str, key: str) -> Location:
        return ("overrides", name, key) if key in own else (key,)

    @contextmanager
    def _at(self, *where: str | int) -> Iterator[None]:
        """Puts file, line and key before an error."""
        try:
            yield
        except KosmosEvalError as error:
            raise type(error)(str(self.source.error(where, str(error)))) from None


def _of(cell: Cell) -> Values:
    return _values(cell.task, cell.prompt, cell.shots, cell.seed, cell.demos)


def _values(task: Task, prompt: str, shots: int, seed: int, demos: str) -> Values:
    """What exclusions look at, besides the model."""
    return {
        "tasks": (task.name,), "prompts": (prompt,), "shots": (shots,), "seeds": (seed,), "demos": (demos,),
        "splits": (task.split,), "data": (task.data_label, str(task.data)),
    }  # fmt: skip


def _matches(entry: Exclusion, model: str | None, values: Values) -> bool:
    every = {**values, "models": () if model is None else (model,)}
    given = {key: getattr(entry, key) for key in every if getattr(entry, key) is not None}
    return bool(given) and all(any(value in given[key] for value in every[key]) for key in given)


def forecast_planned(planned: list[Planned], out: Path, model: Model | None = None) -> list[RunForecast]:
    """What a sweep will take; no weights are loaded. `model` is the one that answers in place of those planned."""
    found: list[RunForecast] = []
    for part in planned[: None if model is None else 1]:
        asked = model or model_for_run(part.model.name, part.model.device, part.model.dtype, part.model.revision)
        found += forecast(part.cells, asked, processor_for(asked), out)
    return found


def run_planned(
    planned: list[Planned],
    out: Path,
    progress: Progress = silent,
    model: Model | None = None,
    on_error: OnError = "record",
    engine: Engine = in_process,
) -> Iterator[Done]:
    """Runs a sweep, one model after the other; each is loaded once, and only if it lacks an answer.

    A model whose weights cannot be read fails its own cells. `model` answers in place of those that were planned.
    `engine` says where models are asked.
    """
    for part in planned:
        left, spec = list(part.cells), part.model
        opened = (
            nullcontext((model, InProcess(model)))
            if model
            else engine(spec.name, spec.device, spec.dtype, spec.revision)
        )
        try:
            with opened as (asked, executor):
                for done in complete(part.cells, asked, executor, out, progress, on_error):
                    left.remove(done.cell)
                    yield done
        except CheckpointError as error:
            yield from (CellFailure(cell, error, spec.name) for cell in left)
        if model is not None:
            return
