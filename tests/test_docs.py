"""Every command and every piece of Python in the README and in `docs/` is run, against small stand-ins.

A page is a session: its files are saved under the names in their first lines, then its commands are given in their
order, in one folder. What a reader brings (data, checkpoints) is replaced by the mini suite and the scripted model, and
limits are made small. What needs weights or minutes is run as it stands, but marked slow.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from kosmos_eval.cli import app
from kosmos_eval.data.mini import MINI_TASKS, ensure_mini
from kosmos_eval.models.locate import bundled
from kosmos_eval.plugins import registry

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = {
    "make ": "continuous integration runs it",
    "pip ": "test_wheel and test_plugins install what they need",
    "hf ": "no test downloads",
    "kosmos-eval lm-eval": "its tasks come from the hub; test_lm_eval runs it with local ones",
    "kosmos-eval run fruit": "the plugin of `examples/` and the README's task: test_plugins, test_wheel, test_readme",
    "kosmos-eval plugin check examples": "the same",
    "python -m kosmos_eval_fruit": "the same",
    "ray ": "a cluster of machines; test_ray starts one here",
}
"""What is not run here, by its beginning, and why."""
SLOW = ("kosmos-eval bench", "kosmos-eval doctor", "kosmos-eval report DIR")
STAND_INS = {
    r"--model (?!fake)\S+": "--model fake",
    r"--data DIR --shots": "--data language --shots",
    r"--data hub(:\S+)?": "--data hub:hub",  # test_hub goes the whole way, by a cache of the hub
    r"--data (/data/\w+|DIR)(?=.*--predictions)": "--data mini",
    r"(check hateful_memes --data )\S+": r"\1official/hateful_memes",
    r"--data /data/\S+": "--data official",
    r"report DIR --out FILE": "report results --out page.html",
    r"--limit \d+": "--limit 4",
    r" --engine ray( --(workers|address) \S+)*": "",  # test_ray has Ray workers; the rest of the line is run here
    r"--queries \d+": "--queries 2",
    r"--rounds \d+": "--rounds 1",
    r"doctor path/to/checkpoint --dtype bfloat16": "doctor kosmos-mini --dtype float32",
}
SMALL = {r'"limit": \d+': '"limit": 2', r"limit: \d+": "limit: 2", r"/data/vqav2": "official/vqav2",
         r"models: .*?(?=\s+#)": "models: [fake]"}  # fmt: skip
QUESTIONS = [
    {"query": f"It rained, so {n}", "choices": ["it was wet.", "it was dry."], "gold": n % 2} for n in range(6)
]


class Block(NamedTuple):
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(*block) for block in found]


def commands(page: Path, slow: bool) -> list[str]:
    given = [b.text.replace("\\\n", " ") for b in blocks(page) if b.language == "bash" and not b.text.startswith("#!")]
    lines = [re.sub(r"\s+# .*", "", line) for text in given for line in text.splitlines()]
    here = [line for line in lines if line and not line.startswith(tuple(ELSEWHERE))]
    return [line for line in here if (line.startswith(SLOW) or "--demos rices" in line) == slow]


def replaced(text: str, by: dict[str, str]) -> str:
    for pattern, stand_in in by.items():
        text = re.sub(pattern, stand_in, text)
    return text


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take for granted: data, a sweep file, predictions, results of earlier runs."""
    folder = tmp_path_factory.mktemp("brought")
    (folder / "official").mkdir()
    for task in MINI_TASKS:
        (folder / "official" / task).symlink_to(ensure_mini(task))
    (folder / "language").mkdir()
    (folder / "language" / "copa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    sweep = next(b.text for b in blocks(ROOT / "docs" / "sweeps.md") if b.language == "yaml")
    (folder / "my_sweep.yaml").write_text(replaced(sweep, SMALL))
    asked = json.loads((folder / "official/vqav2/v2_OpenEnded_mscoco_val2014_questions.json").read_text())["questions"]
    answers = [{"question_id": row["question_id"], "answer": "no"} for row in asked]
    (folder / "results.json").write_text(json.dumps(answers))
    hub_copy(folder / "hub", folder / "official/vqav2", asked[:8])
    (folder / "stsa.binary.dev").write_text("1 a fine film\n0 a dull film\n")
    run = ["run", "vqav2", "--model", "fake", "--prompt", "standard,mcot", "--limit", "4", "--out"]
    assert CliRunner().invoke(app, [*run, str(folder / "results" / "demo")]).exit_code == 0
    return folder


def hub_copy(folder: Path, official: Path, asked: list[dict[str, Any]]) -> None:
    """Some questions as a data set of the hub with VQAv2's columns."""
    pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra `hub`")
    pa = pytest.importorskip("pyarrow")
    annotations = json.loads((official / "v2_mscoco_val2014_annotations.json").read_text())["annotations"]
    known = {row["question_id"]: row for row in annotations}
    rows = [{**question, **known[question["question_id"]]} for question in asked]
    for row in rows:
        picture = official / f"val2014/COCO_val2014_{row['image_id']:012d}.jpg"
        row["image"] = {"bytes": picture.read_bytes(), "path": None}
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "validation-00000-of-00001.parquet")


@pytest.fixture
def session(brought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder, entered."""
    folder = tmp_path / "session"
    shutil.copytree(brought, folder, symlinks=True)
    monkeypatch.chdir(folder)
    registry.cache_clear()  # `my_tasks` is another folder on each page
    return folder


def save_files(page: Path) -> None:
    """The blocks of a page that say what they are called."""
    for block in blocks(page):
        named = re.match(r"# ([\w/]+\.(?:py|yaml))\n", block.text)
        if named:
            Path(named[1]).parent.mkdir(parents=True, exist_ok=True)
            Path(named[1]).write_text(block.text, encoding="utf-8")


def give(line: str) -> None:
    """Gives one command; it has to succeed."""
    words = shlex.split(line)
    if words[0] == "python":
        subprocess.run([sys.executable, *words[1:]], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        return
    assert words[0] == "kosmos-eval", line
    told = CliRunner().invoke(app, words[1:])
    assert told.exit_code == 0, f"{line}\n{told.output}\n{told.exception!r}"


def small(line: str) -> str:
    """The command with stand-ins; one that would ask a real model of many samples asks the scripted one of few."""
    line = replaced(line, STAND_INS)
    if re.match(r"kosmos-eval (run|language) ", line) and "--demos rices" not in line:
        line += "" if "--model" in line else " --model fake"
        line += "" if "--limit" in line else " --limit 4"
    return line


def pages(slow: bool) -> list[Any]:
    """The pages with commands; all that the README's take is a minute."""
    there = [page for page in PAGES if commands(page, slow)]
    return [pytest.param(p, id=p.stem, marks=[pytest.mark.slow] if p.stem == "README" else []) for p in there]


@pytest.mark.parametrize("page", pages(slow=False))
def test_commands_of_a_page(page: Path, session: Path) -> None:
    save_files(page)
    for line in commands(page, slow=False):
        give(small(line))


@pytest.mark.slow
@pytest.mark.skipif(not bundled("kosmos-mini").is_dir(), reason="the bundled checkpoint is not in this checkout")
@pytest.mark.parametrize("page", pages(slow=True))
def test_commands_of_a_page_that_take_minutes(page: Path, session: Path) -> None:
    for line in commands(page, slow=True):
        give(small(line))


def python_blocks() -> list[tuple[str, str]]:
    """(page, code) of what imports the package and is no plugin."""
    found = [(page.stem, b.text) for page in PAGES[1:] for b in blocks(page) if b.language == "python"]
    return [(stem, code) for stem, code in found if "import kosmos_eval as ke" in code]


@pytest.mark.slow
@pytest.mark.skipif(not bundled("kosmos-mini").is_dir(), reason="the bundled checkpoint is not in this checkout")
@pytest.mark.parametrize(("stem", "code"), python_blocks(), ids=lambda value: value if len(value) < 30 else "")
def test_python_of_a_page(stem: str, code: str, session: Path) -> None:
    page = ROOT / "docs" / f"{stem}.md"
    save_files(page)
    for line in commands(page, slow=False):
        give(small(line))
    exec(compile(replaced(code, SMALL), f"{stem}.md", "exec"), {})
