"""SPICE, where its models are: they are a 400 MB download that pycocoevalcap makes unasked, and we never do."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from kosmos_eval.metrics.java import java_on_path, package_folder

_MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")


class SpiceUnavailableError(Exception):
    """SPICE cannot be computed here; the message says why and what to do. A reason of a score, not a failure."""


def missing_models() -> list[Path]:
    """The jars that SPICE needs and that are not there."""
    folder = package_folder("spice") / "lib"
    return [folder / name for name in _MODELS if not (folder / name).is_file()]


def spice(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
    """SPICE of the corpus and of each image, by pycocoevalcap; the texts are PTB tokens."""
    missing = missing_models()
    if missing:
        raise SpiceUnavailableError(
            f"SPICE's models are not installed ({missing[0].name} is missing); to download them (400 MB) run"
            " `python -m pycocoevalcap.spice.get_stanford_models`"
        )
    from pycocoevalcap.spice.spice import Spice

    keys = range(len(hypotheses))
    try:
        with java_on_path():
            mean, each = Spice().compute_score(
                {key: list(references[key]) for key in keys}, {key: [hypotheses[key]] for key in keys}
            )
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise SpiceUnavailableError(f"SPICE failed (it is written for Java 8 and needs 8 GB): {error}") from error
    return float(mean), [float(item["All"]["f"]) for item in each]
