"""The library's front door: load a task, evaluate a model on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.cell import Cell
from kosmos_eval.errors import UsageError
from kosmos_eval.metrics.base import Score
from kosmos_eval.models.base import Model
from kosmos_eval.plugins import all_tasks, home_of, prompt_file, task_class
from kosmos_eval.record import Record
from kosmos_eval.request import Response
from kosmos_eval.run import CellFailure, Done, Progress, RunResult, run, silent
from kosmos_eval.store import RunFolder
from kosmos_eval.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from kosmos_eval.sweep_plan import Planned


def load_task(
    name: str, data: str | Path = "mini", split: str | None = None, tasks_dir: str | Path | None = None
) -> Task:
    """A task by name, over `data`: `mini` (the generated suite), a folder in the benchmark's official layout, `hub`,
    or `hub:` before a data set of the hub or a folder that `datasets` saved.

    >>> load_task("vqav2", data="/data/vqav2", split="val2014")
    """
    cls, folder = task_over(task_class(name, None if tasks_dir is None else Path(tasks_dir)), data)
    return cls(folder, split)


def task_over(task: type[Task], data: str | Path) -> tuple[type[Task], Path]:
    """A task's class as it reads `data`, and the folder to read."""
    if isinstance(data, str) and (data == "hub" or data.startswith("hub:")):
        from kosmos_eval.data.hub import hub_task

        return hub_task(task, data)
    return task, data_folder(task.name, data)


def data_folder(task: str, data: str | Path) -> Path:
    """Where a task's data lie: the mini suite (generated on first use), `DATA/<task>` if there is one, or `DATA`."""
    if data == "mini":
        from kosmos_eval.data.mini import MINI_TASKS, ensure_mini

        if task not in MINI_TASKS:
            raise UsageError(f"task {task!r} has no mini data (known: {', '.join(MINI_TASKS)}); give --data DIR")
        return ensure_mini(task)
    folder = Path(data)
    return folder / task if (folder / task).is_dir() else folder


def built_in_tasks() -> list[str]:
    """What `all` means: the longest first, so that processes that share the work end together."""
    from kosmos_eval.data.mini import MINI_TASKS

    known = all_tasks()
    return [*(name for name in MINI_TASKS if name in known), *sorted(known.keys() - set(MINI_TASKS))]


def has_data(task: str, data: str) -> bool:
    """Whether a built-in task is among `all` that have data there."""
    if data == "mini":
        from kosmos_eval.data.mini import MINI_TASKS

        return task in MINI_TASKS
    if data == "hub":
        from kosmos_eval.data.hub import SOURCES

        return task in SOURCES and SOURCES[task].repo is not None
    return data.startswith("hub:") or (Path(data) / task).is_dir()


SWEEP_COLUMNS = (
    "model", "task", "prompt", "shots", "demos", "order", "seed", "split", "data", "limit", "metric", "primary",
    "score", "stderr", "n", "failed", "reason", "run",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What an evaluation gave. `path` is the run's folder, unless it was temporary."""

    scores: list[Score]
    samples: pd.DataFrame
    """One row a sample: id, prediction, target, score (the primary metric's, where it has one), rationale, and more."""
    failed: int
    errors: dict[str, str]
    manifest: dict[str, Any]
    path: Path | None

    @cached_property
    def metrics(self) -> dict[str, float | None]:
        """Metric -> score, on the papers' scale (times 100); None where it is undefined."""
        return {score.metric: score.value for score in self.scores}


def evaluate(
    model: Model,
    task: Task,
    prompt: str = "standard",
    shots: int = 0,
    seed: int = 0,
    demos: str = "fixed",
    limit: int | None = None,
    prompts: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress = silent,
) -> Result:
    """Evaluates a model on a task. With `out` the run is kept below it, and taken up again by the next call.

    >>> evaluate(model, load_task("rendered_sst2"), prompt="mcot", shots=4).metrics
    """
    templates = prompt_file(task.name, None if prompts is None else Path(prompts), home_of(type(task)))
    cell = Cell.of(task, templates, prompt, shots=shots, demos=demos, seed=seed, limit=limit)
    if out is not None:
        return _result(run(cell, model, Path(out), progress), temporary=False)
    with tempfile.TemporaryDirectory(prefix="kosmos-eval-") as scratch:
        return _result(run(cell, model, Path(scratch), progress), temporary=True)


def sweep(
    grid: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    model: Model | None = None,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Runs a grid: a sweep file, or a mapping with its keys. What was answered before is kept.

    `out` is used in place of the file's; `model`, one that is loaded already, in place of its models. Returns one row
    a run and metric: model, task, prompt, shots, demos, order, seed, split, data, limit, metric, primary, score,
    stderr, n, failed, reason, run. A run that could not be made has a row without a metric, with its reason.

    >>> sweep({"tasks": ["vqav2"], "prompts": ["standard", "mcot"], "shots": [0, 4], "limit": 64})
    """
    import pandas as pd

    from kosmos_eval.sweep_plan import run_planned

    planned, kept = _planned(grid, out)
    rows = [row for done in run_planned(planned, kept, progress, model) for row in _sweep_rows(done)]
    return pd.DataFrame(rows, columns=list(SWEEP_COLUMNS))


def dry_run(
    grid: str | Path | Mapping[str, Any], *, out: str | Path | None = None, model: Model | None = None
) -> pd.DataFrame:
    """What `sweep` would take, with the same arguments; nothing is asked, loaded or written.

    One row a run: model, task, prompt, shots, demos, seed, split, data, limit, samples, requests (samples, and the
    rationales of demonstrations that the model writes first), stored, images (different pictures), tokens_alone,
    tokens, written_at_most, unfit, exact, seconds. Tokens are positions of the prompts that are left to be asked,
    pictures included: `tokens_alone` if each request were asked by itself, `tokens` with shared beginnings computed
    once. They are estimated from a part of the plan unless `exact`, and empty where the tokenizer is not known.
    `seconds` comes from earlier runs below `out`, and is empty without one. `attrs["images"]` counts the pictures of
    all runs, each once.

    >>> dry_run("my_sweep.yaml")[["requests", "stored", "tokens", "seconds"]].sum()
    """
    from kosmos_eval.sweep_plan import forecast_planned
    from kosmos_eval.tables.forecast import forecast_table

    planned, kept = _planned(grid, out)
    return forecast_table(forecast_planned(planned, kept, model))


def _planned(grid: str | Path | Mapping[str, Any], out: str | Path | None) -> tuple[list[Planned], Path]:
    """A grid's runs, checked, and where they are kept."""
    from kosmos_eval.sweep_file import Source, checked, read_sweep
    from kosmos_eval.sweep_plan import Planner

    if isinstance(grid, Mapping):
        source = Source("sweep")
        file = checked(grid, source)
    else:
        file, source = read_sweep(Path(grid))
    return Planner(file, source).plan(), Path(out or file.out)


def _sweep_rows(done: Done) -> Iterator[dict[str, Any]]:
    cell = done.cell
    row: dict[str, Any] = {
        "task": cell.task.name, "prompt": cell.prompt, "shots": cell.shots, "demos": cell.demos, "order": cell.order,
        "seed": cell.seed, "split": cell.task.split, "data": cell.task.data_label, "limit": cell.limit,
    }  # fmt: skip
    if isinstance(done, CellFailure):
        yield row | {"model": done.model, "primary": False, "reason": str(done.error)}
        return
    row |= {"model": done.manifest.model, "failed": done.manifest.counts.failed, "run": str(done.folder.path)}
    for score in (done.folder.scores() or {"scores": []})["scores"]:
        figures = {key: score[key] for key in ("metric", "primary", "stderr", "n", "reason")}
        yield row | figures | {"score": score["value"]}


def _result(done: RunResult, temporary: bool) -> Result:
    found = done.folder.scores() or {}
    return Result(
        scores=[Score(**plain) for plain in found["scores"]],
        samples=sample_table(done.folder),
        failed=found["counts"]["failed"],
        errors=dict(found["errors"]),
        manifest=done.manifest.model_dump(mode="json"),
        path=None if temporary else done.folder.path,
    )


def sample_table(folder: RunFolder) -> pd.DataFrame:
    """A run's samples, one row each, in the order of the data."""
    import pandas as pd

    records, values = folder.records(), folder.per_sample()
    scores = (folder.scores() or {}).get("scores", [])
    primary = next((s["metric"] for s in scores if s["primary"]), None)
    return pd.DataFrame([_row(s, records.get((s["id"], s["prompt_hash"])), values, primary) for s in folder.samples()])


def _rationale(response: Response) -> str | None:
    """What the first of several stages wrote."""
    first = response.stages[0].generated if len(response.stages) > 1 else None
    return first.text.strip() if first else None


def _row(
    sample: dict[str, Any], record: Record | None, values: dict[str, dict[str, float]], primary: str | None
) -> dict[str, Any]:
    response = record.response if record else None
    scores = response.scores if response else None
    own = values.get(sample["id"], {})
    prediction = max(scores, key=scores.__getitem__) if scores else (response.text if response else None)
    return {
        "id": sample["id"],
        "prediction": None if prediction is None else prediction.strip(),
        "target": sample["target"],
        "score": own.get(primary) if primary else None,
        "rationale": _rationale(response) if response else None,
        "choice_logprobs": scores,
        "choice_mean_logprobs": {c.name: c.mean for c in response.stages[-1].choices} if response and scores else None,
        "demonstrations": list(record.demos) if record else [],
        "images": sample["images"],
        "group": sample["group"],
        "error": response.error if response else "not asked yet",
        "fits": response.fits if response else True,
        "prompt_hash": sample["prompt_hash"],
        "values": own,
    }
