"""The README's code is true: its task is loaded and run, its commands exist, its Python is executed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import PIL.Image
import pytest
from typer.testing import CliRunner

from kosmos_eval.api import evaluate, load_task
from kosmos_eval.cli import app
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.models.locate import bundled
from kosmos_eval.template import PromptFile

README = Path(__file__).parents[1] / "README.md"


DOCS = README.parent / "docs"
PAGES = (README, *(DOCS / f"{name}.md" for name in ("other-models", "plugins")))


def blocks(language: str, page: Path = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def fruit(tmp_path: Path) -> Path:
    """The README's task in a folder of its own, beside a folder of data."""
    tasks, data = tmp_path / "my_tasks", tmp_path / "data"
    tasks.mkdir()
    data.mkdir()
    (tasks / "fruit.py").write_text(next(b for b in blocks("python") if "class Fruit" in b))
    (tasks / "fruit.yaml").write_text(blocks("yaml")[0])
    for split in ("train", "test"):
        rows = [{"image": f"{split}{i}.png", "fruit": ("apple", "pear")[i % 2]} for i in range(6)]
        (data / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for row in rows:
            PIL.Image.new("RGB", (4, 4)).save(data / row["image"])
    return tmp_path


def test_the_task_is_short_and_runs(fruit: Path) -> None:
    source = (fruit / "my_tasks" / "fruit.py").read_text()
    assert len([line for line in source.splitlines() if line.strip()]) <= 20
    task = load_task("fruit", data=fruit / "data", tasks_dir=fruit / "my_tasks")
    for prompt in ("standard", "mcot"):
        result = evaluate(FakeModel(check_images=True), task, prompt=prompt, shots=2)
        assert result.failed == 0
        assert result.metrics["majority"] == pytest.approx(50)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_exist_with_their_options(page: Path) -> None:
    lines = [line.split(" #")[0] for block in blocks("bash", page) for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("kosmos-eval ")]
    assert len(commands) >= (8 if page == README else 3)
    for command in commands:
        words = 2 if command[0] in ("data", "export", "plugin") else 1
        result = CliRunner().invoke(app, [*command[:words], "--help"], terminal_width=200)
        assert result.exit_code == 0, command
        for option in (word for word in command if word.startswith("--")):
            assert option in result.output, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_prompts_are_valid(page: Path, tmp_path: Path) -> None:
    for block in blocks("yaml", page):
        (tmp_path / "prompts.yaml").write_text(block)
        assert PromptFile.read(tmp_path / "prompts.yaml").templates


@pytest.mark.skipif(not bundled("kosmos-mini").is_dir(), reason="the bundled checkpoint is not in this checkout")
def test_the_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = next(b for b in blocks("python") if "ke.load_model" in b)
    exec(compile(code, str(README), "exec"), {})
    assert "accuracy" in capsys.readouterr().out
