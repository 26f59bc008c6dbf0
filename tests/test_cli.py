"""The command line: fast to answer, one line and exit code 2 for what a user can mend, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_up_data import TASKS_DIR, write_colours
from typer.testing import CliRunner, Result

from kosmos_eval.cli import app
from kosmos_eval.models.fake import FakeModel

FAKE = ["--model", "fake", "--tasks-dir", str(TASKS_DIR)]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def one_line_error(result: Result, *words: str) -> None:
    """The one line on stderr, and exit code 2."""
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.output
    for word in words:
        assert word in lines[0]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_colours(tmp_path / "data", {"train": 6, "test": 8})


def run_colours(data: Path, *more: object) -> Result:
    return invoke("run", "colours", "--data", data, "--out", data.parent / "out", *FAKE, *more)


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    code = "import sys; from kosmos_eval.cli import app; print(sorted({'torch','numpy','pandas','transformers'} & set(sys.modules)))"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "kosmos_eval.cli", "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - began)
    if os.getloadavg()[0] < (os.cpu_count() or 1):
        assert min(times) < 0.7


def test_every_command_has_an_example() -> None:
    commands = "tasks", "preview", "run", "sweep", "score", "leaderboard", "data check", "data mini", "data render-sst2"
    for command in commands:
        result = invoke(*command.split(), "--help")
        assert result.exit_code == 0
        assert f"Example: kosmos-eval {command}" in " ".join(result.output.replace("│", " ").split())


def test_run_then_leaderboard(data: Path) -> None:
    first = run_colours(data, "--prompt", "standard,mcot", "--shots", "0,2")
    assert first.exit_code == 0, first.output
    assert first.stderr.count(" 8 new answers") == 3
    assert first.stderr.count(" 10 new answers") == 1  # two of them rationales for the demonstrations
    again = run_colours(data, "--prompt", "standard,mcot", "--shots", "0,2")
    assert again.stderr.count("was there") == 4
    table = invoke("leaderboard", data.parent / "out", "--csv", data.parent / "out" / "l.csv")
    assert table.exit_code == 0
    assert "accuracy" in table.stdout
    assert len((data.parent / "out" / "l.csv").read_text().splitlines()) == 1 + 4 * 3


def test_preview_shows_images_texts_and_budget(data: Path) -> None:
    result = invoke("preview", "colours", "--data", data, "--prompt", "mcot", "--shots", 2, "--tasks-dir", TASKS_DIR)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("[image ") == 3
    assert "4x4" in result.stdout
    assert "(3 images)" in result.stdout
    assert "⟨the model's own rationale⟩" in result.stdout


def test_tasks_lists_all_of_them() -> None:
    result = invoke("tasks", "--tasks-dir", TASKS_DIR)
    assert result.exit_code == 0
    for name in ("rendered_sst2", "vqav2", "colours"):
        assert name in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--prompt", "mcott"), ("no prompt 'mcott'", "'mcot'")),
        (("--split", "tset"), ("no split 'tset'", "'test'")),
        (("--shots", "7"), ("7 shots", "only 6")),
        (("--shots", "two"), ("--shots 'two'",)),
        (("--demos", "fixd", "--shots", "1"), ("did you mean 'fixed'",)),
        (("--limit", "0"), ("--limit 0",)),
        (("--model", "kosmos-mni"), ("did you mean 'kosmos-mini'",)),
        (("--model", "/nowhere/at/all"), ("/nowhere/at/all", "no such folder")),
        (("--data", "hub"), ("hub",)),
        (("--data", "/nowhere"), ("/nowhere", "no such folder")),
        (("--prompts", "/nowhere.yaml"), ("/nowhere.yaml",)),
        (("--tasks-dir", "/nowhere"), ("/nowhere", "no such folder")),
    ],
)
def test_wrong_names_and_numbers(data: Path, options: tuple[str, ...], words: tuple[str, ...]) -> None:
    one_line_error(run_colours(data, *options), *words)


def test_unknown_task_is_found_before_anything_runs(data: Path) -> None:
    for named in (("colours", "vqav"), ("colours,vqav",)):
        one_line_error(invoke("run", *named, "--data", data, *FAKE), "no task 'vqav'", "did you mean 'vqav2'")
    assert not (data.parent / "out").exists()


@pytest.mark.parametrize("damage", ["missing", "corrupt"])
def test_a_bad_image_is_named_and_the_others_are_kept(data: Path, damage: str) -> None:
    image = data / "test3.png"
    good = image.read_bytes()
    image.unlink() if damage == "missing" else image.write_bytes(good[:40])
    one_line_error(run_colours(data), "test3.png", "test/3")
    scores = json.loads(next((data.parent / "out").rglob("scores.json")).read_text())
    assert scores["counts"] == {"samples": 8, "answered": 7, "failed": 1, "unfit": 0}
    image.write_bytes(good)
    mended = run_colours(data)
    assert mended.exit_code == 0
    assert " 1 new answer" in mended.stderr


def vqa_folder(folder: Path) -> Path:
    """A whole VQAv2 folder of one question, to be damaged."""
    import PIL.Image

    (folder / "val2014").mkdir(parents=True)
    PIL.Image.new("RGB", (8, 8)).save(folder / "val2014" / "COCO_val2014_000000000007.jpg")
    question = {"image_id": 7, "question": "What is it?", "question_id": 70}
    answers = [{"answer": "cat", "answer_confidence": "yes", "answer_id": i} for i in range(1, 11)]
    annotation = {
        "image_id": 7, "question_id": 70, "question_type": "what", "answer_type": "other",
        "multiple_choice_answer": "cat", "answers": answers,
    }  # fmt: skip
    write_vqa(folder, [question], [annotation])
    return folder


def write_vqa(folder: Path, questions: list[dict[str, object]], annotations: list[dict[str, object]]) -> None:
    head = {"info": {}, "license": {}, "data_type": "mscoco", "data_subtype": "val2014"}
    path = folder / "v2_OpenEnded_mscoco_val2014_questions.json"
    path.write_text(json.dumps({**head, "task_type": "Open-Ended", "questions": questions}))
    (folder / "v2_mscoco_val2014_annotations.json").write_text(json.dumps({**head, "annotations": annotations}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("truncated", ("questions.json",)),
        ("shape", ("questions.json",)),
        ("orphan", ("99",)),
        ("doubled", ("70",)),
    ],
)
def test_bad_official_files(tmp_path: Path, damage: str, words: tuple[str, ...]) -> None:
    folder = vqa_folder(tmp_path / "vqa")
    path = folder / "v2_OpenEnded_mscoco_val2014_questions.json"
    questions = json.loads(path.read_text())["questions"]
    annotations = json.loads((folder / "v2_mscoco_val2014_annotations.json").read_text())["annotations"]
    match damage:
        case "truncated":
            path.write_text(path.read_text()[:-20])
        case "shape":
            path.write_text(json.dumps(questions))
        case "orphan":
            write_vqa(folder, questions, [*annotations, {**annotations[0], "question_id": 99}])
        case "doubled":
            write_vqa(folder, questions * 2, annotations)
    one_line_error(invoke("run", "vqav2", "--data", folder, "--model", "fake", "--out", tmp_path / "out"), *words)


def test_a_whole_folder_runs(tmp_path: Path) -> None:
    folder = vqa_folder(tmp_path / "vqa")
    result = invoke("run", "vqav2", "--data", folder, "--model", "fake", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output


def test_unknown_prompt_variable(data: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "colours.yaml"
    prompts.write_text("standard:\n  demo: ''\n  stages:\n    - {ask: '{{ qestion }}', score: answers}\n")
    one_line_error(run_colours(data, "--prompts", prompts), "unknown variable 'qestion'", "did you mean 'question'")


def test_checkpoint_of_another_architecture(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "model.safetensors").write_bytes(b"")
    one_line_error(run_colours(data, "--model", folder), "bert")


def test_score_of_a_predictions_file(tmp_path: Path) -> None:
    folder = vqa_folder(tmp_path / "vqa")
    predictions = tmp_path / "results.json"
    predictions.write_text(json.dumps([{"question_id": 70, "answer": "cat"}]))
    result = invoke("score", "vqav2", "--data", folder, "--predictions", predictions, "--json")
    assert result.exit_code == 0, result.output
    found = {s["metric"]: s["value"] for s in json.loads(result.stdout)["scores"]}
    assert found["vqa_accuracy"] == pytest.approx(100)
    predictions.write_text(json.dumps([{"question_id": 71, "answer": "cat"}]))
    one_line_error(invoke("score", "vqav2", "--data", folder, "--predictions", predictions), "results.json")


def test_render_sst2_and_data_check(tmp_path: Path) -> None:
    sentences = tmp_path / "stsa.dev"
    sentences.write_text("1 a fine film\n0 a dull one\n")
    out = tmp_path / "sst2"
    assert "2 pictures" in invoke("data", "render-sst2", sentences, out, "--split", "test").stdout
    checked = invoke("data", "check", "rendered_sst2", "--data", out)
    assert checked.exit_code == 0, checked.output
    assert "re-rendered" in checked.stdout
    sentences.write_text("2 what label\n")
    one_line_error(invoke("data", "render-sst2", sentences, out), "line 1")


def test_leaderboard_without_runs(tmp_path: Path) -> None:
    one_line_error(invoke("leaderboard", tmp_path), "no runs")


def test_interruption_says_how_to_go_on(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: FakeModel, requests: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeModel, "run", interrupt)
    result = run_colours(data)
    assert result.exit_code == 130
    assert "the same command" in result.stderr


def test_what_data_hold_does_not_steer_the_terminal(data: Path) -> None:
    rows = json.loads((data / "test.json").read_text())
    rows[0]["question"] = "\x1b[2J [red]which?[/red]"
    (data / "test.json").write_text(json.dumps(rows))
    shown = invoke("preview", "colours", "--data", data, "--tasks-dir", TASKS_DIR).stdout
    assert "\x1b" not in shown
    assert "[red]which?[/red]" in shown


def test_what_cannot_be_written_or_read_is_one_line(data: Path) -> None:
    out = data.parent / "out"
    out.write_text("a file where a folder should be")
    one_line_error(run_colours(data), "out")
    out.unlink()
    assert run_colours(data).exit_code == 0
    one_line_error(invoke("leaderboard", out, "--csv", data), "--csv", "folder")
    one_line_error(invoke("leaderboard", out, "--csv", data / "test.json" / "l.csv"), "test.json")
    (scores,) = out.glob("runs/*/scores.json")
    scores.write_text('{"scores": [{}]}')
    one_line_error(invoke("leaderboard", out), "scores.json", "remove it")


def test_a_terminal_without_the_characters_gets_a_question_mark(data: Path) -> None:
    assert run_colours(data).exit_code == 0
    command = [sys.executable, "-m", "kosmos_eval.cli", "leaderboard", str(data.parent / "out")]
    surroundings = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, env=surroundings)
    assert done.returncode == 0, done.stderr
    assert b"accuracy" in done.stdout
