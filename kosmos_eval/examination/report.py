"""What was found, as it is kept: one JSON file a model, dtype and device, in `doctor/` beside the runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kosmos_eval.disk import storing, write_json
from kosmos_eval.errors import DataError

FOLDER = "doctor"
State = Literal["safe", "not safe", "differs", "not measured"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Check(_Strict):
    """Two ways to have the same requests answered, and how far their answers lie apart.

    `largest` is a difference of log-probabilities (of pixels, for `inputs`). `state` is `differs` where what differs is
    not what runs of this model and dtype use, and `not measured` where there is no second way; `note` says why.
    """

    name: str
    about: str
    state: State
    largest: float | None = None
    tolerance: float | None = None
    choices: int = 0
    flipped: int = 0
    texts: int = 0
    changed: int = 0
    note: str = ""


class Finding(_Strict):
    """Something that evaluations need, or some of them: whether it is there, and what to do where it is not."""

    name: str
    there: bool
    about: str
    advice: str = ""


class Report(_Strict):
    """One examination. `versions` are those that a run's sessions note."""

    schema_version: Literal[1] = 1
    created: str
    model: str
    model_fingerprint: str
    dtype: str
    device: str
    versions: dict[str, str]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]

    @property
    def unsafe(self) -> tuple[str, ...]:
        """The checks that say that results of this model, dtype and device are not to be relied on."""
        return tuple(check.name for check in self.checks if check.state == "not safe")

    @property
    def verdict(self) -> str:
        """In words, for a cell of a table."""
        return f"not safe: {', '.join(self.unsafe)}" if self.unsafe else "safe"

    def speaks_of(self, fingerprint: str, dtype: str, device: str, versions: Mapping[str, str]) -> bool:
        """Whether it was made with what a run was made with: the model, the device, and the software that computes."""
        same = self.model_fingerprint, self.dtype, self.device
        return same == (fingerprint, dtype, device) and all(
            self.versions.get(name) == versions.get(name) for name in ("torch", "kosmos-eval")
        )

    def write(self, out: Path) -> Path:
        """Keeps it below `out`, in the place of an earlier one of the same model, dtype and device; its path."""
        parts = (self.model, self.model_fingerprint[:8], self.dtype, self.device)
        path = out / FOLDER / ("-".join(re.sub(r"[^\w.-]+", "_", part)[:40] for part in parts) + ".json")
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, self.model_dump(mode="json"))
        return path


def reports(folder: str | Path) -> dict[str, Report]:
    """The reports below a folder, by their file, seen from it. Raises DataError for a file that is none."""
    root = Path(folder)
    return {path.relative_to(root).as_posix(): _read(path) for path in sorted(root.rglob(f"{FOLDER}/*.json"))}


def _read(path: Path) -> Report:
    try:
        return Report.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(
            f"{path}: not a report of `kosmos-eval doctor`; remove it or make it again ({reason})"
        ) from None
