"""Exported tasks under lm-eval give, sample by sample, what a run of ours gives at 0 shots."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import yaml
from typer.testing import CliRunner, Result

from kosmos_eval.api import evaluate, load_task
from kosmos_eval.cli import app
from kosmos_eval.models.kosmos import KosmosModel
from kosmos_eval.models.locate import bundled

lm_eval = pytest.importorskip("lm_eval", reason="needs the lm-eval extra")

from lm_eval.tasks import TaskManager  # noqa: E402

from kosmos_eval.interop import lm_eval_tasks  # noqa: E402
from kosmos_eval.interop.lm_eval_model import KosmosLM  # noqa: E402

LIMIT = 4
pytestmark = pytest.mark.skipif(
    not (bundled("kosmos-mini") / "config.json").is_file(), reason="the bundled checkpoint is absent"
)


def export(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["export", "lm-eval", str(folder), *options])


@pytest.fixture(scope="module")
def model() -> KosmosModel:
    return KosmosModel.load(bundled("kosmos-mini"), "kosmos-mini")


@pytest.mark.parametrize(
    ("task", "prompt"),
    [
        ("rendered_sst2", "standard"),
        ("hateful_memes", "standard"),
        ("vqav2", "standard"),
        ("vizwiz", "standard"),
        ("rendered_sst2", "text_only"),
        ("vqav2", "openflamingo"),  # two demonstrations without pictures, 3 beams
        pytest.param("flickr30k", "standard", marks=pytest.mark.slow),  # METEOR
    ],
)
def test_the_same_answers_and_figures_as_a_run(task: str, prompt: str, model: KosmosModel, tmp_path: Path) -> None:
    done = export(tmp_path, "--tasks", task, "--prompt", prompt, "--limit", str(LIMIT), "--seed", "3")
    assert done.exit_code == 0, done.output
    name = f"kosmos_mini_{task}" + ("" if prompt == "standard" else f"_{prompt}")
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    found = lm_eval.simple_evaluate(model=KosmosLM(model), tasks=[name], task_manager=manager)
    ours = evaluate(model, load_task(task), prompt=prompt, limit=LIMIT, seed=3)
    samples = {sample["doc"]["id"]: sample for sample in found["samples"][name]}
    rows = ours.samples.set_index("id")
    assert set(samples) == set(rows.index)
    for sample_id, sample in samples.items():
        expected = rows.loc[sample_id, "choice_logprobs"]
        if expected is None:
            assert sample["filtered_resps"][0].strip() == rows.loc[sample_id, "prediction"]
        else:
            logprobs = [logprob for logprob, _ in sample["filtered_resps"]]
            assert logprobs == pytest.approx(list(expected.values()), abs=1e-5)
    figures = {key.removesuffix(",none"): value for key, value in found["results"][name].items() if ",none" in key}
    for metric, value in ours.metrics.items():
        if "/" not in metric:
            assert figures[metric] == pytest.approx(float("nan") if value is None else value / 100, nan_ok=True), metric


def test_answers_may_be_written_in_words(model: KosmosModel, tmp_path: Path) -> None:
    export(tmp_path, "--tasks", "rendered_sst2", "--limit", str(LIMIT))
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    name = "kosmos_mini_rendered_sst2_generate"
    found = lm_eval.simple_evaluate(model=KosmosLM(model), tasks=[name], task_manager=manager)
    assert found["n-samples"][name]["effective"] == LIMIT
    document = found["samples"][name][0]["doc"]
    right, wrong = document["target"].strip(), {" positive": "negative", " negative": "positive"}[document["target"]]
    for text, accuracy, unmatched in [
        (right.upper() + ", I think", 1, 0),
        (f" {right}", 1, 0),
        (f"{wrong} rather than {right}", 0, 0),
        (f"It is {right}.", 0, 1),
        ("", 0, 1),
    ]:
        assert lm_eval_tasks.written_choice(document, [text]) == {"accuracy": accuracy, "unmatched": unmatched}, text


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--tasks", "raven_iq"), "candidates are pictures"),
        (("--tasks", "rendered_sst2", "--prompt", "mcot"), "asks a model once a sample"),
        (("--tasks", "rendered_sst2", "--prompt", "mcott"), "did you mean 'mcot'"),
        (("--tasks", "rendered_sst3"), "did you mean 'rendered_sst2'"),
    ],
)
def test_what_cannot_be_exported_says_why(options: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    done = export(tmp_path, *options)
    assert done.exit_code == 2
    assert reason in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_refused_task_does_not_keep_the_others_back(tmp_path: Path) -> None:
    done = export(tmp_path, "--tasks", "raven_iq,vqav2", "--limit", "2")
    assert done.exit_code == 0
    assert "not exported: raven_iq" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["kosmos_mini_vqav2.yaml"]


def test_questions_that_hold_a_placeholder_are_refused(tmp_path: Path) -> None:
    from builders import vqav2

    folder = vqav2(tmp_path / "vqav2")
    file = folder / "v2_OpenEnded_mscoco_val2014_questions.json"
    file.write_text(file.read_text().replace("what colour is thing 10", "what is <image>"))
    done = export(tmp_path / "out", "--tasks", "vqav2", "--data", str(folder))
    assert done.exit_code == 0, "the text of a sample is looked at when lm-eval reads it"
    config = yaml.safe_load((tmp_path / "out/kosmos_vqav2.yaml").read_text().replace("!function ", ""))
    assert config["dataset_kwargs"]["data"] == str(folder)
    with pytest.raises(lm_eval_tasks.DataError, match="10000"):
        lm_eval_tasks.documents(**config["dataset_kwargs"])


@pytest.mark.slow
def test_the_commands_of_the_docs(tmp_path: Path) -> None:
    kosmos_eval = [sys.executable, "-m", "kosmos_eval.cli"]
    folder, out = str(tmp_path / "tasks"), str(tmp_path / "out")
    subprocess.run([*kosmos_eval, "export", "lm-eval", folder, "--tasks", "vqav2", "--limit", "3"], check=True)
    command: list[Any] = ["lm-eval", "run", "--include_path", folder, "--tasks", "kosmos_eval", "--model", "kosmos"]
    command += ["--model_args", "pretrained=kosmos-mini", "--log_samples", "--output_path", out]
    subprocess.run([*kosmos_eval, *command], check=True)
    (file,) = (tmp_path / "out").rglob("samples_kosmos_mini_vqav2_*.jsonl")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 3
    assert all(0 <= line["vqa_accuracy"] <= 1 for line in lines)


@pytest.mark.slow
def test_a_model_of_lm_evals_own_runs_them(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="lm-eval's own models need it: pip install 'lm-eval[hf]'")
    kosmos_eval = [sys.executable, "-m", "kosmos_eval.cli"]
    folder, llava = str(tmp_path / "tasks"), tmp_path / "llava"
    tiny_models.llava_chat(llava)
    subprocess.run([*kosmos_eval, "export", "lm-eval", folder, "--tasks", "vqav2", "--limit", "3"], check=True)
    command = ["lm-eval", "run", "--include_path", folder, "--tasks", "kosmos_eval_generate"]
    command += ["--model", "hf-multimodal", "--model_args", f"pretrained={llava},image_string=<image>"]
    command += ["--apply_chat_template", "--gen_kwargs", "max_gen_toks=4", "--output_path", str(tmp_path / "out")]
    subprocess.run([*kosmos_eval, *command], check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    (file,) = (tmp_path / "out").rglob("results_*.json")
    assert "vqa_accuracy,none" in json.loads(file.read_text(encoding="utf-8"))["results"]["kosmos_mini_vqav2"]
