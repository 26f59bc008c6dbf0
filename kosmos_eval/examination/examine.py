"""`doctor`: examines a model on this machine, and keeps what was found."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.environment import versions
from kosmos_eval.examination.report import Report

if TYPE_CHECKING:
    import pandas as pd

    from kosmos_eval.examination.checks import Progress

COLUMNS = (
    "part", "name", "state", "largest", "tolerance", "flipped", "choices", "changed", "texts", "about", "note",
)  # fmt: skip


def examine(model: str, device: str, dtype: str, revision: str | None, data: str, progress: Progress) -> Report:
    """Loads a KOSMOS model and makes all checks."""
    from kosmos_eval.examination.checks import Examination
    from kosmos_eval.examination.probes import probes
    from kosmos_eval.examination.surroundings import surroundings
    from kosmos_eval.models import load_model

    progress("loading")
    loaded = load_model(model, device, dtype, revision)
    return Report(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=loaded.name,
        model_fingerprint=loaded.fingerprint,
        dtype=loaded.info["dtype"],
        device=loaded.info["device"],
        versions=versions(),
        checks=tuple(Examination(loaded, probes(), progress).checks()),
        findings=tuple(surroundings(data)),
    )


def doctor(
    model: str = "kosmos-mini",
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    data: str = "mini",
    out: str | Path | None = None,
) -> pd.DataFrame:
    """Measures what is safe on this machine with this model, on a handful of mini samples, and what is there besides.

    One row a check (`part` is `model`) or thing looked for (`machine`). `state`: `safe`, `not safe`, `differs` (not in
    use), `not measured`; or `there`, `missing`. `largest` is a difference of log-probabilities, of pixels for `inputs`.
    `attrs["unsafe"]` names the checks that are not safe. With `out` the report is kept below it, and the leaderboard
    of the runs there shows its verdict.

    >>> doctor("kosmos-mini", dtype="bfloat16").query("part == 'model'")
    """
    report = examine(model, device, dtype, revision, data, lambda what: None)
    table = frame(report)
    if out is not None:
        table.attrs["path"] = str(report.write(Path(out)))
    return table


def frame(report: Report) -> pd.DataFrame:
    """A report as a table."""
    import pandas as pd

    rows: list[dict[str, Any]] = [{"part": "model", **check.model_dump()} for check in report.checks]
    rows += [
        {"part": "machine", "name": f.name, "state": "there" if f.there else "missing", "about": f.about,
         "note": f.advice}
        for f in report.findings
    ]  # fmt: skip
    counts = ("flipped", "choices", "changed", "texts")
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(counts, "Int64"))
    table.attrs.update(report.model_dump(include={"model", "model_fingerprint", "dtype", "device"}))
    table.attrs["unsafe"] = list(report.unsafe)
    return table
