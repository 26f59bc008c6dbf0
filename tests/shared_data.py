"""Real data in official formats that a developer may have beside the checkout; tests that need it skip without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("KOSMOS_EVAL_SHARED", Path(__file__).parents[2] / "shared"))


def shared(name: str) -> Path:
    """A file or folder of the shared data; skips the test where it is absent."""
    path = SHARED / "data" / name
    if not path.exists():
        pytest.skip(f"needs the shared data set {name!r}, which is not there (KOSMOS_EVAL_SHARED names its folder)")
    return path
