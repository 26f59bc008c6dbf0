"""Plugins: installed packages, whose faults stay their own, and the checker for their authors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kosmos_eval.cli import app
from kosmos_eval.errors import UsageError
from kosmos_eval.plugin_check import check_plugin
from kosmos_eval.plugins import all_tasks, prompt_file, registry, task_class

EXAMPLE = Path(__file__).parents[1] / "examples" / "kosmos-eval-fruit"
BUILT_IN = {
    "coco_captions", "flickr30k", "hateful_memes", "raven_iq", "rendered_sst2", "vizwiz", "vqav2",
    "boolq", "cb", "copa", "hellaswag", "piqa", "storycloze", "winograd", "winogrande",
}  # fmt: skip

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a package with one task module and entry points on the path, as an installer does."""

    put_there: list[str] = []

    def put(package: str, code: str, **points: str) -> None:
        site = tmp_path / f"site_{package}"
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{package}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[kosmos_eval.tasks]\n{lines}")
        monkeypatch.syspath_prepend(site)
        put_there.append(package)
        registry.cache_clear()

    yield put  # type: ignore[misc]
    registry.cache_clear()
    for package in put_there:
        sys.modules.pop(package, None)


def source(name: str) -> str:
    return (EXAMPLE / "src/kosmos_eval_fruit/task.py").read_text().replace('name = "fruit"', f'name = "{name}"')


def test_a_task_of_an_installed_package_is_found_with_its_prompts(install: Install, tmp_path: Path) -> None:
    install("pears", source("pear"), pear="pears:Fruit")
    shutil.copy(EXAMPLE / "src/kosmos_eval_fruit/fruit.yaml", tmp_path / "site_pears" / "pear.yaml")
    assert task_class("pear").name == "pear"
    assert set(prompt_file("pear").templates) == {"standard", "mcot"}


def test_a_name_that_two_packages_claim_is_an_error_that_names_both(install: Install) -> None:
    install("pears", source("pear"), pear="pears:Fruit")
    install("pairs", source("pear"), pear="pairs:Fruit")
    with pytest.raises(UsageError, match=r"claimed by .*(pears 1\.0.*pairs 1\.0|pairs 1\.0.*pears 1\.0)"):
        task_class("pear")
    assert set(all_tasks()) == BUILT_IN


@pytest.mark.parametrize(
    ("code", "point", "says"),
    [
        ("raise RuntimeError('no such luck')", "broken:Fruit", "no such luck"),
        ("raise SystemExit(3)", "broken:Fruit", "SystemExit"),
        ("import nothing_of_this_name", "broken:Fruit", "nothing_of_this_name"),
        ("Fruit = 3", "broken:Fruit", "not a subclass"),
        (source("other"), "broken:Fruit", "is the task 'other'"),
        ("", "broken:Fruit", "AttributeError"),
    ],
)
def test_a_broken_package_is_reported_and_the_others_work(
    install: Install, code: str, point: str, says: str
) -> None:
    install("broken", code, pear=point)
    with pytest.raises(UsageError, match=says):
        task_class("pear")
    assert set(all_tasks()) == BUILT_IN
    shown = CliRunner().invoke(app, ["tasks"])
    assert shown.exit_code == 0
    assert all(name in shown.stdout for name in BUILT_IN)
    assert says in shown.stderr
    assert "broken 1.0" in shown.stderr


def test_a_package_cannot_take_a_built_in_name(install: Install) -> None:
    built_in = task_class("vqav2")
    install("thief", source("vqav2"), vqav2="thief:Fruit")
    assert task_class("vqav2").__module__ == built_in.__module__
    assert "rename it" in " ".join(registry().faults.values())


def test_a_broken_file_in_a_folder_leaves_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(source("good"))
    (tmp_path / "bad.py").write_text("1 / 0")
    (tmp_path / "thief.py").write_text(source("vqav2"))
    assert task_class("good", tmp_path).name == "good"
    with pytest.raises(UsageError, match=r"bad\.py.*ZeroDivisionError"):
        task_class("bad", tmp_path)
    with pytest.raises(UsageError, match=r"thief\.py.*rename it"):
        task_class("vqav2", tmp_path)


def test_the_example_passes_its_own_check(tmp_path: Path) -> None:
    draw(tmp_path / "fruit")
    report = check_plugin(EXAMPLE, tmp_path / "fruit")
    assert report.tasks == ["fruit"]
    assert report.findings == []


def draw(folder: Path) -> None:
    command = [sys.executable, "-m", "kosmos_eval_fruit.draw", str(folder)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(EXAMPLE / "src")})


def test_the_check_tells_everything_at_once(tmp_path: Path) -> None:
    code = source("Fruit!").replace('" ripe", " green"', '"ripe", " green "')
    code = code.replace("(Accuracy(), MajorityBaseline())", "()")
    (tmp_path / "fruit.py").write_text(code + "\nfrom kosmos_eval.data.images import ref\n")
    (tmp_path / "other.py").write_text(source("other"))
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "other.yaml").write_text(
        "a: {demo: x, stages: [{ask: x, scores: answers}]}\nb: {demo: '{{ x', stages: [{ask: x, score: answers}]}\n"
    )
    result = CliRunner().invoke(app, ["plugin", "check", str(tmp_path)])
    assert result.exit_code == 2
    for part in (
        "'Fruit!'", "'ripe'", "' green '", "metrics is empty", "imports from kosmos_eval.data.images", "Fruit!.yaml",
        "ZeroDivisionError", "a.stages.0.scores", "did you mean 'score'", "other.yaml: b",
    ):  # fmt: skip
        assert part in result.stderr, part


def test_the_check_reads_the_data(tmp_path: Path) -> None:
    draw(tmp_path / "fruit")
    for file in ("task.py", "fruit.yaml"):
        shutil.copy(EXAMPLE / "src/kosmos_eval_fruit" / file, tmp_path)
    code = (tmp_path / "task.py").read_text().replace("fields, answer, answer", "fields, label, answer")
    (tmp_path / "task.py").write_text(code)
    (tmp_path / "fruit.yaml").write_text((tmp_path / "fruit.yaml").read_text().replace("{{ fruit }}", "{{ fruits }}"))
    next((tmp_path / "fruit/test/ripe").glob("*.png")).write_bytes(b"no picture")
    messages = " ".join(f.message for f in check_plugin(tmp_path / "task.py", tmp_path / "fruit").findings)
    for part in ("not an image", "target is none of the answers", "unknown variable 'fruits'", "did you mean 'fruit'"):
        assert part in messages, part


def test_the_check_tells_of_demonstrations_that_say_nothing_and_pictures_that_are_not_shown(tmp_path: Path) -> None:
    draw(tmp_path / "fruit")
    code = (EXAMPLE / "src/kosmos_eval_fruit/task.py").read_text()
    code = code.replace("(image,), fields, answer, answer", '(image, image), fields, answer, ""')
    (tmp_path / "task.py").write_text(code.replace("Accuracy", "ExactMatch"))
    (tmp_path / "fruit.yaml").write_text(
        'standard:\n  demo: "<image> {{ answer }}Answer:"\n'
        '  stages: [{ask: "<img> Answer: ", score: answers}]\n'
    )
    report = check_plugin(tmp_path / "task.py", tmp_path / "fruit")
    for part in (
        "demo ends in a colon", "ask ends in a blank", "answer is empty", "has more images than any prompt shows",
        "MajorityBaseline(normalised=True)",
    ):  # fmt: skip
        assert any(part in finding.message for finding in report.findings), part


def test_choices_of_a_samples_own_need_no_picture_and_no_answers_of_the_class(tmp_path: Path) -> None:
    (tmp_path / "quiz.py").write_text(
        "from kosmos_eval import Accuracy, Choice, Sample, Task, read_jsonl\n\n\n"
        "class Quiz(Task):\n"
        '    """Questions with their own options."""\n\n'
        '    name = "quiz"\n'
        '    splits = {"eval": "test", "demos": "test"}\n'
        "    metrics = (Accuracy(),)\n"
        '    layout = "test.jsonl"\n\n'
        "    def read(self, data, split):\n"
        '        for row in read_jsonl(data / f"{split}.jsonl"):\n'
        '            choices = tuple(Choice(a, f" {a}") for a in row.texts("options"))\n'
        '            right = row.text("answer")\n'
        '            fields = {"question": row.text("question")}\n'
        '            yield Sample(row.text("id"), (), fields, right, f" {right}", choices=choices)\n'
    )
    (tmp_path / "quiz.yaml").write_text(
        'standard:\n  source: ours\n  demo: "{{ question }} Answer:{{ answer }}"\n'
        '  stages: [{ask: "{{ question }} Answer:", score: answers}]\n'
    )
    (tmp_path / "data").mkdir()
    rows = [{"id": f"q{k}", "question": f"{k}?", "options": [f"a{k}", f"b{k}"], "answer": f"b{k}"} for k in range(4)]
    (tmp_path / "data/test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert check_plugin(tmp_path / "quiz.py", tmp_path / "data").usable
    rows[1]["answer"] = "c"
    (tmp_path / "data/test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    messages = [f.message for f in check_plugin(tmp_path / "quiz.py", tmp_path / "data").findings if f.level == "error"]
    assert any("target is none of the answers" in message for message in messages)


@pytest.mark.slow
def test_the_example_runs_from_its_wheel_in_a_clean_environment(tmp_path: Path) -> None:
    """A virtual environment of its own, in which both wheels are installed without a network."""
    pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    wheels, environment = tmp_path / "wheels", tmp_path / "environment"
    for project in (EXAMPLE.parents[1], EXAMPLE):
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(project)]
        built = subprocess.run(command, capture_output=True, text=True)
        assert built.returncode == 0, built.stdout + built.stderr
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = str(environment / "bin" / "python")
    say = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", say], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run([sys.executable, *pip, "--target", site, *map(str, wheels.glob("*.whl"))], check=True)
    # The third-party packages are borrowed from where the tests run, behind those of the environment.
    borrowed = [p for p in sys.path if p.endswith("site-packages")]
    (Path(site) / "borrowed.pth").write_text("".join(f"{p}\n" for p in borrowed))
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([python, *arguments], cwd=tmp_path, env=clean, capture_output=True, text=True)

    where = run("-c", "import kosmos_eval, kosmos_eval_fruit; print(kosmos_eval.__file__, kosmos_eval_fruit.__file__)")
    assert where.stdout.count(site) == 2, where.stdout + where.stderr
    assert run("-m", "kosmos_eval_fruit.draw", "fruit").returncode == 0
    done = run(
        "-m", "kosmos_eval.cli", "run", "fruit", "--data", "fruit", "--model", "fake", "--prompt", "standard,mcot",
        "--shots", "0,2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("12 samples") == 4
