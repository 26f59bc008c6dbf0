"""Runs: asks a model what cells plan and is not answered yet, keeps each answer at once, then scores each run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from kosmos_eval.cell import Cell
from kosmos_eval.errors import UsageError
from kosmos_eval.executor import Executor, InProcess
from kosmos_eval.faults import OnError
from kosmos_eval.job import Job, RunResult, run_path
from kosmos_eval.models.base import Model
from kosmos_eval.round import FAULTS, CellFailure, Progress, Round, What
from kosmos_eval.work import WorkUnit, together

__all__ = ["CellFailure", "Done", "Progress", "RunResult", "complete", "run", "run_path", "silent"]

Done = RunResult | CellFailure


def silent(cell: Cell, what: What, done: int, total: int) -> None:
    """No progress is shown."""


def run(cell: Cell, model: Model, out: Path, progress: Progress = silent) -> RunResult:
    """Completes one run below `out/runs`. Whatever was answered before is kept; a finished run loads no weights.

    Raises KosmosEvalError for what concerns the whole run; what concerns one sample is in its record.
    """
    (done,) = complete([cell], model, InProcess(model), out, progress)
    if isinstance(done, CellFailure):
        raise done.error
    return done


def complete(
    cells: Iterable[Cell],
    model: Model,
    executor: Executor,
    out: Path,
    progress: Progress = silent,
    on_error: OnError = "record",
) -> Iterator[Done]:
    """Completes the runs of cells, those on the same ground together, and yields each as it is finished.

    The model's own rationales, of all cells, come first: the plan of the answers holds them. `model` says who answers;
    `executor` has it asked. A cell whose data (or Java) are at fault is reported, and stops no other. Raises ModelError
    where the model fails at everything or, by `on_error`, at a sample; StoreError where nothing more can be written.
    """
    given: dict[Cell, Cell] = {}
    """The cells that are run, with their indexes, and as they were given."""
    for cell in cells:
        try:
            given[_with_index(cell, model, progress)] = cell
        except (*FAULTS, UsageError) as error:
            yield CellFailure(cell, error, model.name)

    def told(cell: Cell, what: What, done: int, total: int) -> None:
        progress(given[cell], what, done, total)

    for done in _completed(list(given), model, executor, out, told, on_error):
        yield replace(done, cell=given[done.cell])


def _with_index(cell: Cell, model: Model, progress: Progress) -> Cell:
    """The cell as it is; with the index that its demonstrations are chosen by, where there is to be one."""
    if not cell.retrieves or cell.index is not None:
        return cell
    from kosmos_eval.retrieval import indexed

    ready = replace(cell, index=indexed(cell, model, partial(progress, cell, "index")))
    for sample in ready.samples:
        ready.chooser.choose(sample)  # too few neighbours of other content are found now
    return ready


def _completed(
    cells: Sequence[Cell], model: Model, executor: Executor, out: Path, progress: Progress, on_error: OnError
) -> Iterator[Done]:
    groups = [[Job(cell, model, out) for cell in group] for group in together(cells)]
    failed: set[Job] = set()
    needy = [[job for job in group if job.cell.rationale_origin == "model"] for group in groups]
    for job, done in _drive((Round(jobs, "rationales", progress, on_error) for jobs in needy if jobs), executor):
        failed.add(job)
        yield done
    able = ([job for job in group if job not in failed] for group in groups)
    for _, done in _drive((Round(jobs, "answers", progress, on_error) for jobs in able if jobs), executor):
        yield done


def _drive(rounds: Iterable[Round], executor: Executor) -> Iterator[tuple[Job, Done]]:
    """Has the units of rounds asked, one stream for all of them; yields what each round settles once it is answered."""
    under_way: dict[WorkUnit, Round] = {}
    opened: list[Round] = []
    answered: deque[Round] = deque()

    def units() -> Iterator[WorkUnit]:
        for planning in rounds:
            opened.append(planning)
            ahead: WorkUnit | None = None
            for unit in planning.units():
                under_way[unit] = planning
                if ahead is not None:
                    yield ahead
                ahead = unit
            planning.planned = True  # known before the last unit is asked, so that its end is the round's
            if ahead is not None:
                yield ahead
            elif planning.finished:
                answered.append(planning)

    try:
        for answer in executor.run(units()):
            asked = under_way.get(answer.unit)
            if asked is not None and asked.keep(answer):
                del under_way[answer.unit]
                if asked.finished:
                    answered.append(asked)
            while answered:
                yield from _settled(answered.popleft(), opened)
        while answered:
            yield from _settled(answered.popleft(), opened)
        if under_way:
            raise RuntimeError(f"the executor left {len(under_way)} units unanswered")
    finally:
        for one in opened:
            one.close()


def _settled(answered: Round, opened: list[Round]) -> Iterator[tuple[Job, Done]]:
    yield from answered.settle()
    opened.remove(answered)
