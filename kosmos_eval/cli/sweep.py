"""`kosmos-eval sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval.cli.common import (
    FAULT,
    INTERRUPTED,
    Address,
    EngineName,
    HangTimeout,
    Workers,
    engine_of,
    fail,
    make_mini,
    reporting,
)
from kosmos_eval.faults import OnError


@reporting
def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A YAML file with the grid; see docs/sweeps.md.")],
    out: Annotated[Path | None, typer.Option(help="Where results are kept; in place of the file's `out`.")] = None,
    on_error: Annotated[
        OnError, typer.Option(help="What a failed sample means: `record` counts it, `stop` ends the run.")
    ] = "record",
    engine: EngineName = "local",
    address: Address = None,
    workers: Workers = None,
    hang_timeout: HangTimeout = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only tells what the runs will take: requests, tokens, what is there, time."),
    ] = False,
) -> None:
    """Runs the grid that a file declares. What was answered before is kept, so the same command also resumes.

    Example: kosmos-eval sweep my_sweep.yaml --out results/my_sweep
    """
    if dry_run:
        from kosmos_eval.api import dry_run as table_of
        from kosmos_eval.cli.tables import show
        from kosmos_eval.tables.forecast import forecast_parts

        show(forecast_parts(table_of(file, out=out)))
        return
    from kosmos_eval.cli.landing import Landing
    from kosmos_eval.data.mini import MINI_TASKS
    from kosmos_eval.sweep_file import read_sweep
    from kosmos_eval.sweep_plan import Planner, run_planned

    where = engine_of(engine, address, workers, hang_timeout)
    declared, source = read_sweep(file)
    wanted = MINI_TASKS if declared.tasks == ["all"] else declared.tasks
    make_mini([name for name in wanted if "mini" in declared.axes(name).data])
    planned = Planner(declared, source).plan()
    landing = Landing([cell for part in planned for cell in part.cells])
    try:
        kept = out or Path(declared.out)
        landing.watch(run_planned(planned, kept, landing.progress, on_error=on_error, engine=where))
    except KeyboardInterrupt:
        fail(f"interrupted: {landing.finished} of {landing.total} runs are finished, and every answer is kept; "
             "the same command goes on from there", "note")  # fmt: skip
        raise typer.Exit(INTERRUPTED) from None
    for fault in landing.faults:
        fail(fault)
    if landing.faults:
        raise typer.Exit(FAULT)
