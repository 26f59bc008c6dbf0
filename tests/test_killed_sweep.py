"""The sweep that the documentation speaks of, on the bundled checkpoint: killed and restarted twice, it ends the same.

Six tasks, two prompts, three shot counts and two seeds are 72 runs, in processes of their own, as a user starts them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import kosmos_eval as ke
from kosmos_eval.models.locate import bundled
from kosmos_eval.store import RESPONSES, RunFolder
from kosmos_eval.tables.board import TIMING

LIMIT = int(os.environ.get("KOSMOS_EVAL_SWEEP_LIMIT", "4"))
GRID = f"""\
tasks: [vqav2, vizwiz, flickr30k, hateful_memes, rendered_sst2, raven_iq]
prompts: [standard, mcot]
shots: [0, 2, 4]
seeds: [0, 1]
limit: {LIMIT}
"""
RUNS = 72

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (bundled("kosmos-mini") / "config.json").is_file(), reason="no bundled checkpoint"),
]


def started(file: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "kosmos_eval.cli", "sweep", str(file), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def answers(out: Path) -> int:
    """How many answers are on the disk."""
    return sum(path.read_bytes().count(b"\n") for path in out.rglob(RESPONSES))


def killed(file: Path, out: Path, enough: int) -> None:
    """Kills a sweep once so many answers are kept."""
    process = started(file, out)
    while answers(out) < enough:
        assert process.poll() is None, "it was done before it could be killed"
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()


def csv(frame: pd.DataFrame, path: Path) -> bytes:
    frame.drop(columns=[c for c in TIMING if c in frame]).to_csv(path, index=False, float_format="%.9g")
    return path.read_bytes()


def said(out: Path) -> dict[tuple[str, str, str], tuple[list[object], list[float]]]:
    """What is not a number of every answer, by run and key, and its log-probabilities."""
    found = {}
    for path in sorted((out / "runs").iterdir()):
        for (sample, prompt), record in RunFolder(path).records().items():
            texts: list[object] = [record.response.error, record.response.pixels, list(record.demos)]
            logprobs = []
            for stage in record.response.stages:
                texts.append(stage.generated)
                texts.append([(c.name, c.tokens) for c in stage.choices])
                logprobs += [c.logprob for c in stage.choices]
            found[path.name, sample, prompt] = texts, logprobs
    return found


def test_killed_twice_it_ends_the_same(tmp_path: Path) -> None:
    file, whole, broken = tmp_path / "sweep.yaml", tmp_path / "whole", tmp_path / "broken"
    file.write_text(GRID)
    assert started(file, whole).wait() == 0
    total = answers(whole)
    assert total == RUNS * LIMIT
    for share in (0.25, 0.6):
        killed(file, broken, int(share * total))
        assert answers(broken) < total
    assert started(file, broken).wait() == 0
    assert len(list((broken / "runs").iterdir())) == RUNS
    assert {json.loads(p.read_text())["status"] for p in broken.rglob("run.json")} == {"finished"}

    expected, found = said(whole), said(broken)
    assert found.keys() == expected.keys()
    for key, (texts, logprobs) in expected.items():
        assert found[key][0] == texts
        assert found[key][1] == pytest.approx(logprobs, abs=1e-5)
    for name, table, rows in (
        ("leaderboard", ke.leaderboard, RUNS // 2),  # at least: seeds share a row, tasks may have several metrics
        ("compare", lambda out: ke.compare(out, "prompt"), RUNS // 4),
    ):
        a, b = (csv(table(out), tmp_path / f"{out.name}_{name}.csv") for out in (whole, broken))
        assert a == b
        assert a.count(b"\n") > rows
