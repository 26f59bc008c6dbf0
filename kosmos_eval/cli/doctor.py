"""`kosmos-eval doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kosmos_eval.cli.common import Data, console, fail, printable, reporting
from kosmos_eval.cli.tables import show

if TYPE_CHECKING:
    from kosmos_eval.examination.report import Report
    from kosmos_eval.tables.parts import Part

UNSAFE = 1


@reporting
def doctor(
    model: Annotated[str, typer.Argument(help="`kosmos-mini`, a checkpoint folder or a hub id.")] = "kosmos-mini",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Revision of a hub id.")] = None,
    data: Data = "mini",
    out: Annotated[Path, typer.Option(help="Where the report is kept, in `doctor/` below it.")] = Path("results"),
) -> None:
    """Measures what results depend on, on this machine with this model, and looks for what else evaluations need.

    Exit code 1 says that something is not safe. Example: kosmos-eval doctor --dtype bfloat16
    """
    from kosmos_eval.examination.examine import examine

    screen = console(stderr=True)
    with screen.status("loading") as status:
        report = examine(model, device, dtype, revision, data, lambda what: status.update(printable(what)))
    show(_parts(report))
    kept = report.write(out)
    screen.print(printable(f"kept in {kept}"), markup=False, soft_wrap=True)
    if report.unsafe:
        fail(f"{report.model}, {report.dtype} on {report.device}: not safe: {', '.join(report.unsafe)}")
        raise typer.Exit(UNSAFE)


def _parts(report: Report) -> Iterator[Part]:
    from kosmos_eval.tables.parts import Part

    rows = []
    for c in report.checks:
        largest = "" if c.largest is None or not (c.choices or c.tolerance) else f"{c.largest:.1e}"
        tolerance = "" if c.tolerance is None else f"{c.tolerance:.0e}"
        flipped = f"{c.flipped} of {c.choices}" if c.choices else ""
        changed = f"{c.changed} of {c.texts}" if c.texts else ""
        rows.append((c.name, largest, tolerance, flipped, changed, c.state))
    said = tuple(f"{c.name}: {c.about}{f' ({c.note})' if c.note else ''}" for c in report.checks)
    title = f"{report.model}, {report.dtype} on {report.device}: {report.verdict}"
    columns = ("check", "difference", "tolerance", "choices flipped", "texts changed", "")
    yield Part(title, columns, tuple(rows), said)
    things = [(f.name, "there" if f.there else "missing", f.about) for f in report.findings]
    advice = tuple(f"{f.name}: {f.advice}" for f in report.findings if f.advice)
    yield Part("what is there", ("", "", "found"), tuple(things), advice)
