"""The mini suite on disk: made once, whole or not at all, and marked as what it is."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from kosmos_eval.data.mini.files import Layout
from kosmos_eval.data.mini.frozen import FROZEN
from kosmos_eval.data.mini.seeding import MINI_VERSION
from kosmos_eval.errors import DataError, nearest

MARKER = "KOSMOS_EVAL_MINI.json"
MINI_TASKS = ("raven_iq", "rendered_sst2", "hateful_memes", "vqav2", "flickr30k", "vizwiz")
"""The longest first: where several processes share the work, they then end together."""


def cache_root() -> Path:
    """Where generated data goes: `$KOSMOS_EVAL_CACHE`, or `~/.cache/kosmos-eval`."""
    named = os.environ.get("KOSMOS_EVAL_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "kosmos-eval"


def mini_folder(task: str, cache_dir: Path | None = None) -> Path:
    """Where a task's mini benchmark lies once it is made; it holds MARKER then."""
    return (cache_dir or cache_root()) / f"mini-v{MINI_VERSION}" / task


def ensure_mini(task: str, cache_dir: Path | None = None) -> Path:
    """The folder of a task's mini benchmark, generated on first use."""
    if task not in MINI_TASKS:
        raise DataError(f"the mini suite has no task {task!r}{nearest(task, MINI_TASKS)}")
    folder = mini_folder(task, cache_dir)
    suite = folder.parent
    if (folder / MARKER).is_file():
        return folder
    if folder.exists():
        raise DataError(f"{folder}: exists but has no {MARKER}; it is not whole, remove it")
    try:
        suite.mkdir(parents=True, exist_ok=True)
        _generate(task, suite, folder)
    except OSError as error:
        raise DataError(
            f"{folder}: the mini suite cannot be written ({error.strerror or error}); make room, or name another "
            "folder in KOSMOS_EVAL_CACHE"
        ) from error
    return folder


def ensure_several(tasks: Sequence[str], cache_dir: Path | None = None) -> None:
    """Generates those of the tasks' benchmarks that are not there yet, side by side on this machine's cores.

    For programs whose main module may be imported again (`multiprocessing`'s spawn): the command line, not a script of
    a user's.
    """
    missing = [task for task in tasks if not (mini_folder(task, cache_dir) / MARKER).is_file()]
    workers = min(len(missing), os.cpu_count() or 1)
    if workers < 2:
        return  # `ensure_mini` makes a single one as well
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            for made in [pool.submit(ensure_mini, task, cache_dir) for task in missing]:
                made.result()
    except BrokenProcessPool:
        return  # no memory for so many, say: `ensure_mini` makes them one by one


def _generate(task: str, suite: Path, folder: Path) -> None:
    """Write into a neighbour folder and rename it: no reader ever sees half a benchmark, however many of us write."""
    draft = Path(tempfile.mkdtemp(prefix=f".{task}-", dir=suite))
    try:
        layout = Layout(draft)
        counts: dict[str, int] = importlib.import_module(f"kosmos_eval.data.mini.{task}").write(layout)
        (draft / MARKER).write_text(json.dumps(_marker(task, layout, counts), indent=2) + "\n", encoding="utf-8")
        draft.chmod(0o755)
        try:
            draft.rename(folder)
        except OSError:
            if not (folder / MARKER).is_file():  # else another process was first, with the same content
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _marker(task: str, layout: Layout, counts: dict[str, int]) -> dict[str, Any]:
    """What makes every result made from this folder say `mini`, and which mini it was."""
    return {
        "suite": "mini",
        "version": MINI_VERSION,
        "task": task,
        "seed": f"mini:{MINI_VERSION}:{task}",
        "content_hash": layout.content_hash,
        "pixel_hash": layout.pixel_hash,
        "frozen": FROZEN[task] == layout.content_hash,
        "counts": counts,
    }
