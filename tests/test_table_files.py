"""The tables' commands and the files they write: what is printed, told in every form, and the papers' rows beside."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from builders import hateful_memes
from typer.testing import CliRunner

from kosmos_eval.api import evaluate, load_task
from kosmos_eval.cli import app
from kosmos_eval.models.fake import FakeModel


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One task asked of two models that answer differently."""
    folder = tmp_path_factory.mktemp("tables")
    task = load_task("hateful_memes", data=hateful_memes(folder / "memes"))
    for name, fingerprint in (("one_a", "aa"), ("two", "bb")):
        evaluate(FakeModel(name=name, fingerprint=fingerprint), task, out=folder / "out")
    return folder / "out"


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_models_are_compared_in_every_form(out: Path, tmp_path: Path) -> None:
    files = {form: tmp_path / f"table.{form}" for form in ("csv", "json", "markdown", "latex")}
    options = [part for form, file in files.items() for part in (f"--{form}", file)]
    printed = invoke("compare", out, "--by", "model", "--baseline", "two", *options)
    (row,) = json.loads(files["json"].read_text())
    assert (row["baseline"], row["variant"]) == ("two", "one_a")
    (same,) = csv.DictReader(files["csv"].read_text().splitlines())
    assert float(same["difference"]) == pytest.approx(row["difference"])
    assert float(same["p"]) == pytest.approx(row["p"])
    figure = f"{row['difference']:+.1f}"
    for told in (printed, files["markdown"].read_text(), files["latex"].read_text()):
        assert figure in told
    tables = [part for part in files["markdown"].read_text().split("\n\n") if part.startswith("|")]
    for table in tables:
        assert len({line.count(" | ") for line in table.splitlines() if "---" not in line}) == 1
    assert "one\\_a" in files["markdown"].read_text()
    latex = files["latex"].read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == len(tables)
    assert r"one\_a" in latex


def test_published_figures_stand_beside_and_say_why_they_do_not_compare(out: Path, tmp_path: Path) -> None:
    invoke("leaderboard", out, "--with-published", "--csv", tmp_path / "all.csv")
    rows = list(csv.DictReader((tmp_path / "all.csv").read_text().splitlines()))
    papers = [row for row in rows if row["data"] == "published"]
    assert {"one_a", "two"} <= {row["model"] for row in rows if row not in papers}
    assert any("KOSMOS-1" in row["model"] for row in papers)
    assert all(row["source"] and row["not_comparable"] for row in papers)  # a few records are not the benchmark
    assert "KOSMOS-1" not in invoke("leaderboard", out)


@pytest.mark.filterwarnings("error")
def test_tables_of_next_to_nothing_are_quiet(tmp_path: Path) -> None:
    task = load_task("vqav2", "mini")
    for prompt in ("standard", "mcot"):
        for seed in (0, 1):
            evaluate(FakeModel(answer=lambda *_: "yes"), task, prompt, seed=seed, limit=3, out=tmp_path)
    invoke("leaderboard", tmp_path)
