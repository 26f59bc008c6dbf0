"""The mini suite: six small procedural benchmarks in the official layouts, so that the official readers read them."""

from __future__ import annotations

from kosmos_eval.data.mini.cache import MARKER, MINI_TASKS, ensure_mini, ensure_several
from kosmos_eval.data.mini.seeding import MINI_VERSION

__all__ = ["MARKER", "MINI_TASKS", "MINI_VERSION", "ensure_mini", "ensure_several"]
