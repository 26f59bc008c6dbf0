"""A run's manifest, `run.json`: everything that decided what was asked and who answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kosmos_eval.disk import expanded, write_json
from kosmos_eval.errors import DataError
from kosmos_eval.prompt import digest

MANIFEST = "run.json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Session(_Strict):
    """One process that answered some of a run's requests: a run that is taken up again has several."""

    started: str
    model_info: dict[str, Any]
    versions: dict[str, str]
    git: dict[str, Any] | None


class Counts(_Strict):
    """How many samples the run has, and what became of them."""

    samples: int = 0
    answered: int = 0
    failed: int = 0
    unfit: int = 0


class Manifest(_Strict):
    """What is written to `run.json`. `schema_version` goes up whenever a reader would have to know."""

    schema_version: Literal[1] = 1
    status: Literal["running", "finished"] = "running"
    created: str
    model: str
    model_fingerprint: str
    dtype: str
    device: str
    task: str
    prompt: str
    template: dict[str, Any]
    plain_demo: str
    prompt_source: str
    prompt_hash: str
    shots: int
    demos: str
    """The sampler."""
    demos_by: str | None = None
    """The model whose vision tower compared pictures, where demonstrations were retrieved."""
    demos_index: str | None = None
    """The fingerprint of the index they were retrieved by."""
    demos_fingerprint: str | None = None
    """Of the split they were chosen from, as `data_fingerprint`; None without demonstrations, and in older runs."""
    order: int = 0
    """Which of the seeded orders they were shown in; the 0th is as they were chosen."""
    demos_same_split: bool
    demonstrations: list[str] | None
    """The ids of the one set, where it is one set; else each response has its own."""
    rationale: Literal["field", "model", "none"] | None
    rationales_hash: str | None
    seed: int
    split: str
    limit: int | None
    data: str
    official_count: int | None = None
    """How many samples the benchmark's split has; 0 where that is not known of these data, None in older runs."""
    data_path: str
    data_fingerprint: str
    counts: Counts = Counts()
    sessions: list[Session] = []

    @property
    def data_folder(self) -> Path:
        """`data_path`, which names no user, as a path on this machine."""
        return expanded(self.data_path)

    def shown_demos(self, order: bool = False) -> str:
        """What tables say of its demonstrations: the sampler, by which model, and which order of a row's own."""
        by = f" by {self.demos_by}" if self.demos_by else ""
        which = f" order {self.order}" if order and self.order else ""
        return f"{self.demos}{by}{which}" + (" (same split)" if self.demos_same_split else "")

    @property
    def identity(self) -> str:
        """Tells runs apart that may not share a folder: another wording of a prompt is another run."""
        newer = {"demos_index": self.demos_index, "order": self.order or None}
        return digest(
            [self.model, self.model_fingerprint, self.dtype, self.task, self.prompt, self.prompt_hash, self.shots,
             self.demos, self.seed, self.split, self.limit, self.data, self.data_fingerprint,
             *(v for v in newer.items() if v[1] is not None)]
        )  # fmt: skip

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises DataError where the file is missing, torn or of another version."""
        path = folder / MANIFEST
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not readable ({error})") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise DataError(f"{path}: not a run's manifest ({where}: {first['msg']})") from None

    def write(self, folder: Path) -> None:
        """Replaces the file in one step, so that a crash leaves the old one or the new one."""
        write_json(folder / MANIFEST, self.model_dump(mode="json"))
