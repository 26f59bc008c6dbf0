"""One run of the made-up `synthetic` task, in a process of its own: prints its peak memory and times as JSON.

    python tests/scale_run.py SAMPLES OUT [SHOTS]
"""

from __future__ import annotations

import json
import resource
import sys
import time
from itertools import islice
from pathlib import Path

from made_up_data import TASKS_DIR

from kosmos_eval.store import Appender, RunFolder
from kosmos_eval.work import UNIT_SAMPLES


def main(count: int, out: Path, shots: int = 2) -> None:
    import kosmos_eval.run  # noqa: F401  # what is loaded anyway counts as the base
    from kosmos_eval.api import load_task
    from kosmos_eval.cell import Cell
    from kosmos_eval.models.fake import FakeModel
    from kosmos_eval.plugins import prompt_file
    from kosmos_eval.run import run
    from kosmos_eval.tables import leaderboard

    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "count.txt").write_text(str(count))
    base, times = _peak(), {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        times[name] = round(time.perf_counter() - began, 2)
        times[f"{name}_peak_mib"] = _peak()
        print(name, times[name], "s, peak", times[f"{name}_peak_mib"], "MiB", file=sys.stderr, flush=True)
        began = time.perf_counter()

    planned = Cell.of(load_task("synthetic", data, tasks_dir=TASKS_DIR), prompt_file("synthetic", None, TASKS_DIR),
                      "standard", shots=shots)  # fmt: skip
    lap("plan")
    done = run(planned, FakeModel(), out)
    lap("run")
    again = run(planned, FakeModel(), out)
    lap("again")
    stored = _store_again(done.folder, out / "again.jsonl")
    lap("store")
    rows = leaderboard(out)
    lap("leaderboard")
    assert (done.asked, again.asked) == (count, 0)
    figures = dict(zip(rows["metric"], rows["score"], strict=True))
    rate = round(stored / times["store"])
    print(json.dumps({"samples": count, "stored_per_s": rate, "base_mib": base, **times, "scores": figures}))


def _store_again(folder: RunFolder, path: Path) -> int:
    """Commits a run's records, as many as there are, to another file; how many."""
    count, records = 0, folder.each_record()
    with Appender(path) as appender:
        while unit := list(islice(records, UNIT_SAMPLES)):
            appender.commit(unit)
            count += len(unit)
    return count


def _peak() -> int:
    """The most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
