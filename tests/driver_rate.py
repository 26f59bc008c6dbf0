"""What one driver can carry: plans, sends, keeps and scores, with workers that take no time.

    python tests/driver_rate.py [SAMPLES] [SHOTS]

Units are pickled as Ray would, and answers come back pickled; the answer is canned. Prints processor seconds of the
driver per 1,000 requests as JSON.
"""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from made_up_data import TASKS_DIR, colours, write_colours

from kosmos_eval.executor import Answer
from kosmos_eval.grid import plan_sweep
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.pictures import files_of
from kosmos_eval.request import Generated, Response, StageResult
from kosmos_eval.run import complete
from kosmos_eval.scale.dispatch import Dispatcher
from kosmos_eval.work import WorkUnit


class Canned:
    """64 workers that answer at once. `spent` is their share of the processor time."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.sent = 0

    def run(self, units: Iterable[WorkUnit]) -> Iterator[Answer]:
        dispatcher: Dispatcher[int] = Dispatcher(units)
        for worker in range(64):
            dispatcher.join(worker, "node", 0)
        while calls := list(dispatcher.calls(0)):
            for call in calls:
                sent = pickle.dumps(call.unit.requests, protocol=5)
                self.sent += len(sent)
                began = time.process_time()
                text = Generated(" a red square", (1, 2, 3), "eos")
                replies = [
                    (i, Response(r.id, tuple(StageResult(s.name, text) for s in r.stages)), 0.01, files_of(r))
                    for i, r in enumerate(pickle.loads(sent))
                ]
                back = pickle.dumps(replies, protocol=5)
                self.spent += time.process_time() - began
                yield from dispatcher.heard(call, pickle.loads(back), 0)
                dispatcher.ended(call, 0)


def main(samples: int = 5000, shots: int = 8) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        task = colours(write_colours(Path(scratch, "data"), {"train": 64, "test": samples}))
        cells = plan_sweep([task], ["standard", "mcot"], [shots], tasks_dir=TASKS_DIR)
        warm = plan_sweep([task], ["standard"], [0], tasks_dir=TASKS_DIR, limit=2)  # what is imported once
        list(complete(warm, FakeModel(), Canned(), Path(scratch, "out")))
        executor = Canned()
        began, wall = time.process_time(), time.perf_counter()
        assert len(list(complete(cells, FakeModel(), executor, Path(scratch, "out")))) == len(cells)
        spent = time.process_time() - began - executor.spent
        requests = len(cells) * samples
        print(json.dumps({
            "requests": requests, "cpu_seconds_per_1000": round(1000 * spent / requests, 3),
            "requests_per_cpu_second": round(requests / spent), "bytes_sent_per_request": executor.sent // requests,
            "wall": round(time.perf_counter() - wall, 1),
        }))  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
