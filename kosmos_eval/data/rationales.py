"""Rationales that lie beside a benchmark's files: what a picture shows, for multimodal chain-of-thought demonstrations.

No official release has them. The mini suite and re-rendered data do: `rationales.json` (sample id -> text) beside the
annotations, or `rationales.jsonl` (`file`, `rationale` a line) in the folder of a split.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kosmos_eval.data.files import by_id, checked_text, expect, read_jsonl, read_object


def read_rationales(folder: Path) -> dict[str, str]:
    """Rationales by sample id; none where the folder holds neither file."""
    path = folder / "rationales.json"
    if path.exists():
        values = read_object(path).values
        return {key: _checked(value, f"{path}, field {key[:60]!r}") for key, value in values.items()}
    path = folder / "rationales.jsonl"
    if path.exists():
        return {name: record.line("rationale") for name, record in by_id(read_jsonl(path), "file").items()}
    return {}


def rationale_field(rationales: Mapping[str, str], sample_id: str) -> dict[str, str]:
    """The field to add to a sample: `rationale`, or nothing."""
    return {"rationale": rationales[sample_id]} if sample_id in rationales else {}


def _checked(value: object, where: str) -> str:
    return " ".join(checked_text(expect(value, str, where), where).split())
