"""The wheel is whole: installed by itself, in an empty folder, without a network, it runs a task."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kosmos_eval.models.locate import bundled

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_wheel_holds_tasks_prompts_and_figures(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for kind, folder in (("*.py", "tasks"), ("*.yaml", "prompts")):
        for path in (ROOT / folder).glob(kind):
            assert f"kosmos_eval/_builtin/{folder}/{path.name}" in names
    assert "kosmos_eval/_builtin/results/published.csv" in names
    assert not any(name.startswith(("tasks/", "prompts/", "tests/")) for name in names)


def test_wheel_runs_a_task_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    model = "kosmos-mini"
    if not (bundled(model) / "config.json").is_file():
        model = "fake"
    target, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(target)]
    subprocess.run([*command, str(wheel)], check=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(target),
        "HF_HUB_OFFLINE": "1",
        "KOSMOS_EVAL_CACHE": os.environ.get("KOSMOS_EVAL_CACHE", str(tmp_path / "cache")),
    }
    script = "import kosmos_eval; print(kosmos_eval.__file__); from kosmos_eval.cli import main; main()"
    arguments = ["run", "rendered_sst2", "--model", model, "--prompt", "standard,mcot", "--limit", "4", "--out", "out"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=empty, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert str(target) in done.stdout
    assert len(list((empty / "out" / "runs").iterdir())) == 2
    if model == "fake":
        pytest.skip("the bundled checkpoint is not in this checkout: the scripted model ran in its place")
