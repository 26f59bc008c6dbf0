"""`kosmos-eval run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval.cli.common import (
    FAULT,
    Address,
    Data,
    EngineName,
    HangTimeout,
    Limit,
    Prompts,
    Split,
    TasksDir,
    Workers,
    engine_of,
    fail,
    load_tasks,
    names,
    numbers,
    reporting,
)
from kosmos_eval.faults import OnError


@reporting
def run(
    task: Annotated[list[str], typer.Argument(help="Task names, by blanks or commas; `all` is every built-in task.")],
    model: Annotated[
        str, typer.Option(help="`kosmos-mini`, a checkpoint folder or a hub id; `hf:` or `clip:` before other models.")
    ] = "kosmos-mini",
    prompt: Annotated[str, typer.Option(help="Prompt names, separated by commas.")] = "standard",
    shots: Annotated[str, typer.Option(help="Numbers of demonstrations, separated by commas.")] = "0",
    demos: Annotated[
        str, typer.Option(help="fixed, random, balanced, or by likeness of pictures: rices, rices-first (with :MODEL).")
    ] = "fixed",
    demo_orders: Annotated[
        int, typer.Option(metavar="N", help="Shows the same demonstrations in N orders; the board has their spread.")
    ] = 1,
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
    engine: EngineName = "local",
    address: Address = None,
    workers: Workers = None,
    hang_timeout: HangTimeout = None,
) -> None:
    """Runs the grid of what is given; what was answered before is kept, so the same command also resumes.

    Example: kosmos-eval run vqav2 rendered_sst2 --prompt standard,mcot --shots 0,4 --limit 64
    """
    from kosmos_eval.cli.landing import Landing
    from kosmos_eval.grid import plan_sweep, sweep

    where = engine_of(engine, address, workers, hang_timeout)
    cells = plan_sweep(
        load_tasks(task, data, split, tasks_dir),
        names(prompt, "--prompt"),
        numbers(shots, "--shots"),
        demos=demos,
        orders=demo_orders,
        seeds=numbers(seed, "--seed"),
        limit=limit,
        prompts_path=prompts,
        tasks_dir=tasks_dir,
    )
    landing = Landing(cells)
    with where(model, device, dtype, revision) as (asked, executor):
        landing.watch(sweep(cells, asked, out, landing.progress, executor=executor, on_error=on_error))
    for fault in landing.faults:
        fail(fault)
    if landing.faults:
        raise typer.Exit(FAULT)
