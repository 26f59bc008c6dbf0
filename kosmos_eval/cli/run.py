"""`kosmos-eval run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kosmos_eval.cli.common import (
    FAULT,
    Data,
    Demos,
    Limit,
    Prompts,
    Split,
    TasksDir,
    console,
    fail,
    load_tasks,
    names,
    numbers,
    printable,
    reporting,
)
from kosmos_eval.faults import OnError

if TYPE_CHECKING:
    from kosmos_eval.run import RunResult

_ERRORS_SHOWN = 5


@reporting
def run(
    task: Annotated[list[str], typer.Argument(help="Task names; `all` is every built-in task.")],
    model: Annotated[
        str, typer.Option(help="`kosmos-mini`, a checkpoint folder or a hub id; `hf:` or `clip:` before other models.")
    ] = "kosmos-mini",
    prompt: Annotated[str, typer.Option(help="Prompt names, separated by commas.")] = "standard",
    shots: Annotated[str, typer.Option(help="Numbers of demonstrations, separated by commas.")] = "0",
    demos: Demos = "fixed",
    seed: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0",
    data: Data = "mini",
    split: Split = None,
    limit: Limit = None,
    out: Annotated[Path, typer.Option(help="Where results are kept, in `runs/` below it.")] = Path("results"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Revision of a hub id.")] = None,
    on_error: Annotated[
        OnError, typer.Option(help="What a failed sample means: `record` counts it, `stop` ends the run.")
    ] = "record",
    tasks_dir: TasksDir = None,
    prompts: Prompts = None,
) -> None:
    """Runs the grid of what is given; what was answered before is kept, so the same command also resumes.

    Example: kosmos-eval run vqav2 rendered_sst2 --prompt standard,mcot --shots 0,4 --limit 64
    """
    from kosmos_eval.cli.progress import SweepProgress
    from kosmos_eval.models import model_for_run
    from kosmos_eval.sweep import CellFailure, plan_sweep, sweep

    cells = plan_sweep(
        load_tasks(task, data, split, tasks_dir),
        names(prompt, "--prompt"),
        numbers(shots, "--shots"),
        demos=demos,
        seeds=numbers(seed, "--seed"),
        limit=limit,
        prompts_path=prompts,
        tasks_dir=tasks_dir,
    )
    chosen = model_for_run(model, device, dtype, revision)
    faults: list[str] = []
    screen = console(stderr=True)
    with SweepProgress(len(cells), screen) as progress:
        for done in sweep(cells, chosen, out, progress, on_error=on_error):
            progress.cell_done()
            if isinstance(done, CellFailure):
                faults.append(f"{done.cell.title}: {done.error}")
            else:
                screen.print(_line(done), markup=False, soft_wrap=True)
                faults.extend(_faults(done))
    for fault in faults:
        fail(fault)
    if faults:
        raise typer.Exit(FAULT)


def _line(done: RunResult) -> str:
    m = done.manifest
    scores = (done.folder.scores() or {"scores": []})["scores"]
    primary = next((s for s in scores if s["primary"]), None)
    figure = "no metric"
    if primary is not None:
        value = "–" if primary["value"] is None else f"{primary['value']:.1f}"
        figure = f"{primary['metric']} {value}" + (f" ({primary['reason']})" if primary["reason"] else "")
    new = f"{done.asked} new answers" if done.asked else "was there"
    samples = f"{m.counts.answered} of {m.counts.samples} samples" if m.counts.failed else f"{m.counts.samples} samples"
    return printable(f"{m.task} {m.prompt} {m.shots}-shot seed {m.seed}: {figure}, {samples}, {new}")


def _faults(done: RunResult) -> list[str]:
    """The samples that could not be answered, one line each, the first few by name."""
    m = done.manifest
    where = f"{m.task} {m.prompt} {m.shots}-shot"
    lines = [f"{where}: {sample_id}: {error}" for sample_id, error in list(done.errors.items())[:_ERRORS_SHOWN]]
    if len(done.errors) > _ERRORS_SHOWN:
        more = len(done.errors) - _ERRORS_SHOWN
        lines.append(f"{where}: and {more} more; see {done.folder.path / 'scores.json'}")
    return lines
