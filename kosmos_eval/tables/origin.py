"""Where a row comes from: its data, the software that made it, and how fast that was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from kosmos_eval.examination.report import Report
from kosmos_eval.manifest import Manifest
from kosmos_eval.plugins import all_tasks
from kosmos_eval.store import RESPONSES, RunFolder

OFFICIAL, SUBSET = "official", "subset"


def data_source(manifest: Manifest) -> str:
    """`official` (as many samples as the benchmark's split has), `subset` (fewer), or what the data are: `mini`,
    `re-rendered`, or `local`, `hub` or `official-hub` where the benchmark's own count is not known."""
    official = manifest.official_count
    if official is None and (task := all_tasks().get(manifest.task)) is not None:
        official = task.official_counts.get(manifest.split)
    if manifest.data not in ("local", "official-hub", "hub") or not official:
        return manifest.data
    return OFFICIAL if manifest.counts.samples == official else SUBSET


def versions_of(manifests: Iterable[Manifest]) -> str:
    """The software that answered: `kosmos-eval 0.1.0, torch 2.13.0`; several where a run was taken up by another."""
    found = [
        ", ".join(f"{name} {version}" for name, version in sorted(session.versions.items()))
        for manifest in manifests
        for session in manifest.sessions
    ]
    return " | ".join(dict.fromkeys(found))


def verdict(manifests: Sequence[Manifest], examined: Iterable[Report]) -> str | None:
    """What `kosmos-eval doctor` said of the model, dtype, device and software of all sessions; None where it was not
    asked."""
    # A manifest is made before the weights are loaded, and knows `cuda` where a session, like the doctor, has `cuda:0`.
    made = [
        (m.model_fingerprint, m.dtype, str(s.model_info.get("device", m.device)), s.versions)
        for m in manifests
        for s in m.sessions
    ]
    return next((r.verdict for r in examined if made and all(r.speaks_of(*each) for each in made)), None)


def samples_per_second(folders: Sequence[RunFolder]) -> float | None:
    """How many responses a second the model gave; None where no time was taken."""
    count, seconds = 0, 0.0
    for folder in folders:
        with (folder.path / RESPONSES).open("rb") as lines:
            for line in lines:
                if line.endswith(b"}\n"):  # the last one may be torn
                    count += 1
                    seconds += json.loads(line)["seconds"]
    return count / seconds if seconds else None
