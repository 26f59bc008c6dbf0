"""What Ray costs: the same units asked in this process and by one Ray worker, in turns, one thread each.

    OMP_NUM_THREADS=1 RAY_worker_niceness=0 python tests/ray_overhead.py [LIMIT] [ROUNDS] [MODEL]

Ray's workers give way to other programs (niceness 15) unless they are told not to, which is not like with like.
Weights are loaded and Ray is started before the clock starts; what that took is printed by itself. Prints JSON, and
fails where results differ.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median

from kosmos_eval.api import load_task
from kosmos_eval.cell import Cell
from kosmos_eval.executor import Executor, in_process
from kosmos_eval.grid import plan_sweep
from kosmos_eval.models.base import Model
from kosmos_eval.run import complete, run_path
from kosmos_eval.scale.ray_executor import on_ray
from kosmos_eval.store import RunFolder


def timed(cells: list[Cell], model: Model, executor: Executor, out: Path) -> tuple[float, float]:
    """Seconds of the clock, and of processors: of this process and all that it started, Ray's own included."""
    began, spent = time.perf_counter(), processor_seconds()
    list(complete(cells, model, executor, out))
    return round(time.perf_counter() - began, 1), round(processor_seconds() - spent, 1)


def processor_seconds() -> float:
    stats = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            fields = file.read_text().rpartition(")")[2].split()
            stats[int(file.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    ours = {os.getpid()}
    while more := {pid for pid, (parent, _) in stats.items() if parent in ours} - ours:
        ours |= more
    return sum(stats[pid][1] for pid in ours) / os.sysconf("SC_CLK_TCK")


def main(limit: int = 200, rounds: int = 3, name: str = "kosmos-mini") -> None:
    task = load_task("rendered_sst2", "mini")
    cells = plan_sweep([task], ["standard", "mcot"], [0, 2], limit=limit)
    warm = plan_sweep([task], ["standard"], [0], limit=2)
    chosen = (name, "cpu", "float32", None)
    with in_process(*chosen) as here, on_ray(workers=1)(*chosen) as ray, tempfile.TemporaryDirectory() as scratch:
        ways = {"process": here, "ray": ray}
        starts = {way: timed(warm, *ways[way], Path(scratch, f"warm-{way}"))[0] for way in ways}
        took: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for k in range(rounds):
            for way in ways if k % 2 == 0 else reversed(ways):
                took[way].append(timed(cells, *ways[way], Path(scratch, f"{way}{k}")))
                print(way, *took[way][-1], file=sys.stderr, flush=True)
        results = [_results(cells, ways[way][0], Path(scratch, f"{way}{k}")) for way in ways for k in range(rounds)]
        assert all(result == results[0] for result in results), "results differ"
    found = {"requests": len(cells) * limit, "start": starts, "clock_and_processor_seconds": took}
    for place, name in enumerate(("clock_ratio", "processor_ratio")):
        ratios = [r[place] / p[place] for r, p in zip(took["ray"], took["process"], strict=True)]
        found[name] = round(median(ratios), 3)
    print(json.dumps(found))


def _results(cells: list[Cell], model: Model, out: Path) -> list[object]:
    found: list[object] = []
    for cell in cells:
        folder = RunFolder(run_path(out, cell, model))
        found.append({key: replace(record, seconds=0.0) for key, record in folder.records().items()})
        found.append((folder.scores(), folder.per_sample()))
    return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])
