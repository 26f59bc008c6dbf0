"""Scores stored runs again, by new or changed metrics: from their folders alone, without a model and without data."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import KosmosEvalError, UsageError
from kosmos_eval.metrics.base import Metric, counts_over_split
from kosmos_eval.outcome import keep_scores
from kosmos_eval.plugins import run_file, task_class
from kosmos_eval.tables.runs import FinishedRun, finished_runs

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("run", "task", "metric", "before", "after", "n", "failed", "reason")


def rescore(
    folder: str | Path, metrics: Sequence[Metric | str] = (), tasks_dir: str | Path | None = None
) -> pd.DataFrame:
    """Scores the finished runs below a folder again, by their tasks' metrics as they are now and by `metrics`.

    One of `metrics` that has the name of a task's own takes its place, others are added. It is a metric, the name of a
    public one (`ChanceBaseline`), or `FILE.py:NAME` for a metric or metric class in a file. Returns one row a run and
    metric: run, task, metric, the score `before` (empty if there was none) and `after`, n, failed, reason. Replaced
    scores are kept in the run's `scores_history.jsonl`. `attrs["refused"]` lists the runs that stay as they are, each
    with its `run` and the `reason`; `attrs["unfinished"]` counts the unfinished ones.

    Raises UsageError for a folder without runs and for a metric that is not one.

    >>> rescore("results", metrics=["ChanceBaseline", "mine.py:Lenient"])
    """
    import pandas as pd

    added = [metric_named(metric) if isinstance(metric, str) else metric for metric in metrics]
    runs, unfinished = finished_runs(folder)
    rows: list[dict[str, Any]] = []
    refused = []
    for run in runs:
        try:
            rows += _rescored(run, added, None if tasks_dir is None else Path(tasks_dir))
        except KosmosEvalError as error:
            refused.append({"run": run.name, "reason": str(error)})
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"before": "float64", "after": "float64"})
    frame.attrs = {"refused": refused, "unfinished": unfinished}
    return frame


def metric_named(text: str) -> Metric:
    """A public metric by its class's name, or one of a file by `FILE.py:NAME`. Raises UsageError for anything else."""
    import kosmos_eval

    file, _, name = text.rpartition(":")
    home: Any = run_file(Path(file)) if file else kosmos_eval
    found = getattr(home, name, None)
    if inspect.isclass(found) and issubclass(found, Metric):
        try:
            found = found()
        except TypeError as error:
            raise UsageError(
                f"metric {text!r} needs to be told more ({error}); make one in a file, FILE.py:NAME"
            ) from None
    if not isinstance(found, Metric):
        raise UsageError(f"{text!r} is not a metric: give a public one such as ChanceBaseline, or FILE.py:NAME")
    return found


def _rescored(run: FinishedRun, added: Sequence[Metric], tasks_dir: Path | None) -> Iterator[dict[str, Any]]:
    own = {metric.name: metric for metric in task_class(run.manifest.task, tasks_dir).metrics}
    metrics = list({**own, **{metric.name: metric for metric in added}}.values())
    with run.folder.locked():
        before = {score["metric"]: score["value"] for score in (run.folder.scores() or run.scores)["scores"]}
        _complete_references(run, metrics)
        found = keep_scores(run.folder, metrics, run.manifest.counts.samples)
    for score in found.scores:
        yield {"run": run.name, "task": run.manifest.task, "metric": score.metric, "before": before.get(score.metric),
               "after": score.value, "n": score.n, "failed": found.counts.failed, "reason": score.reason}  # fmt: skip


def _complete_references(run: FinishedRun, metrics: Sequence[Metric]) -> None:
    """Keeps the whole split's references for metrics that count over them: those of a whole run are in its samples."""
    needy = [metric.name for metric in metrics if counts_over_split(metric)]
    if not needy or run.folder.references() is not None:
        return
    if run.manifest.limit is not None:
        raise UsageError(
            f"{', '.join(needy)} counts over the whole split, and this run of {run.manifest.limit} samples "
            "(--limit) did not keep the others' references; run it again in another --out"
        )
    samples = ((row["id"], row["target"]) for row in run.folder.each_sample())
    run.folder.write_references(
        {name: [str(t) for t in target] for name, target in samples if isinstance(target, list)}
    )
