"""The report's file: what it holds is what the runs hold, and nothing in it is anything but text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_data import TASKS_DIR
from report_pages import HOSTILE, Page, write_hostile_runs, write_runs
from typer.testing import CliRunner

import kosmos_eval as ke
from kosmos_eval.cli import app
from kosmos_eval.errors import UsageError
from kosmos_eval.prompt import Image
from kosmos_eval.report import Report, write_report
from kosmos_eval.report.charts import axis
from kosmos_eval.report.pictures import LEFT_OUT, SIDE, UNREADABLE, Pictures
from kosmos_eval.report.runs import settings_of
from kosmos_eval.report.selection import select
from kosmos_eval.store import RunFolder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def made(runs: Path) -> Report:
    return write_report(runs, tasks_dir=TASKS_DIR)


@pytest.fixture(scope="module")
def page(made: Report) -> Page:
    return Page(made.path)


def test_rows_say_what_the_runs_say(runs: Path, made: Report, page: Page) -> None:
    payload = page.json("payload")
    seen: Counter[str] = Counter()
    for number, sample, marks, answers in payload["rows"]:
        setting = payload["settings"][number]
        sample_id = payload["samples"][sample][0]
        for (verdict, value), answer, run in zip(marks, answers, setting["runs"], strict=True):
            folder = RunFolder(runs / payload["runs"][run]["path"])
            stored = folder.per_sample()[sample_id]["accuracy"]
            assert value == stored
            assert verdict == ("right" if stored else "wrong")
            record = next(r for r in folder.each_record() if r.sample_id == sample_id)
            prediction, choices, written = payload["answers"][answer][:3]
            assert {name: logprob for name, logprob, _ in choices} == pytest.approx(record.response.scores, abs=1e-4)
            assert (
                prediction == max(record.response.scores or {}, key=(record.response.scores or {}).__getitem__).strip()
            )
            assert [text for _, text, _ in written] == [s.generated.text for s in record.response.stages if s.generated]
            seen[setting["task"]] += 1
    assert seen == {"colours": 4 * 13, "hateful_memes": 2 * 4, "raven_iq": 2 * 4}
    assert made.samples == len(payload["rows"]) == 2 * 13 + 4 + 4


def test_prompts_are_made_again_and_checked(page: Page) -> None:
    payload = page.json("payload")
    assert all(answer[6] is True for answer in payload["answers"])
    shown = Counter(len(payload["contexts"][answer[4]]) for answer in payload["answers"])
    assert shown == {2: 2 * 13, 0: 2 * 13 + 16}
    context = next(c for c in payload["contexts"] if c)
    kinds = [payload["segments"][s][0] for _, part in context for s in payload["parts"][part]]
    assert kinds == ["image", "text"] * 2


def test_pictures_are_there_once_by_their_content(page: Page) -> None:
    images = page.json("images")
    assert len({uri for uri, _, _ in images}) == len(images)
    payload = page.json("payload")
    squares = [s[3][0] for s in payload["samples"] if s[0].startswith("test/")]
    assert len(squares) == 13
    assert len({payload["pictures"][reference] for reference in squares}) == 2
    uri, width, height = images[payload["pictures"][squares[1]]]
    decoded = PIL.Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    assert decoded.size == (width, height) == (4, 4)
    assert decoded.getpixel((1, 1)) == (255, 0, 0)


def test_tables_show_the_leaderboard(runs: Path, page: Page) -> None:
    frame = ke.leaderboard(runs)
    shown = Counter(text.strip() for text in page.shown)
    for score in frame[frame["primary"]]["score"]:
        assert shown[f"{score:.1f}"]
    assert all(shown[task] for task in set(frame["task"]))


def test_no_network_is_asked(page: Page) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "href", "data", "action", "poster", "srcset", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
    assert not re.search(r"@import|url\(", "".join(page.styles))
    assert page.policy.startswith("default-src 'none'; img-src data:;")


def test_the_policy_names_the_style_and_the_script_by_their_hashes(page: Page) -> None:
    def named(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    code = [text for attributes, text in page.scripts if "type" not in attributes]
    assert len(code) == len(page.styles) == 1
    assert f"script-src {named(code[0])};" in page.policy
    assert f"style-src {named(page.styles[0])};" in page.policy
    assert not any(name.startswith("on") or name == "style" for _, a in page.tags for name in a)


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    made = write_report(write_hostile_runs(tmp_path), tasks_dir=TASKS_DIR)
    page = Page(made.path)
    assert len(page.scripts) == 3
    assert not any(tag in ("img", "b", "i") for tag, _ in page.tags)
    payload = page.json("payload")
    fields = {dict(sample[2])["question"] for sample in payload["samples"]}
    assert fields == set(HOSTILE)
    assert {sample[0] for sample in payload["samples"]} == {f"test/{text}" for text in HOSTILE}
    assert all(answer[6] is True for answer in payload["answers"])
    assert "out <i>" in "".join(page.shown)
    for raw in ("<b>", "<i>", "window.pwned = 1</script>"):
        assert raw not in page.text


def test_a_prompt_that_differs_says_so(runs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(runs.parent / "data" / "colours", data)
    path = data / "test.json"
    path.write_text(path.read_text().replace("Which colour, 3?", "Which colour, three?"))
    made = write_report(runs, tmp_path / "r.html", data=data, tasks_dir=TASKS_DIR)
    payload = Page(made.path).json("payload")
    names = [payload["samples"][row[1]][0] for row in payload["rows"]]
    differing = {
        n for n, row in zip(names, payload["rows"], strict=True) for a in row[3] if payload["answers"][a][6] is False
    }
    assert differing == {"test/3"}
    assert any(note.startswith("4 prompts, made again, differ") for note in made.notes)


def test_a_report_without_the_data_says_what_is_missing(runs: Path, tmp_path: Path) -> None:
    made = write_report(runs, tmp_path / "r.html", data=tmp_path / "gone", tasks_dir=TASKS_DIR)
    payload = Page(made.path).json("payload")
    assert all(answer[4] is None and answer[6] is None for answer in payload["answers"])
    assert all("no such folder" in run["missing"] for run in payload["runs"])
    assert payload["pictures"] == []
    assert made.samples == 34
    assert any("could not be made again" in note for note in made.notes)


def test_a_task_that_is_not_known_here_costs_its_prompts_only(runs: Path, tmp_path: Path) -> None:
    payload = Page(write_report(runs, tmp_path / "r.html").path).json("payload")
    assert {s["task"] for s in payload["settings"] if payload["runs"][s["runs"][0]]["missing"]} == {"colours"}


def test_a_template_of_another_version_costs_the_prompts_only(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    changed = next((tmp_path / "runs").rglob("run.json"))
    manifest = json.loads(changed.read_text())
    changed.write_text(json.dumps(manifest | {"template": {**manifest["template"], "new_key": 1}}))
    payload = Page(write_report(tmp_path / "runs", tmp_path / "r.html", tasks_dir=TASKS_DIR).path).json("payload")
    assert ["none of this version's" in (run["missing"] or "") for run in payload["runs"]].count(True) == 1


def test_flips_come_first_and_less_is_a_part_of_more(runs: Path) -> None:
    settings = settings_of(runs, ke.leaderboard(runs, per_seed=True))
    whole = select(settings, 1000)
    flips = [len({mark.verdict for mark in row.marks}) > 1 for row in whole.rows]
    assert flips == sorted(flips, reverse=True)
    assert sum(flips) == whole.flips > 0
    for most in (1, 5, whole.flips + 2):
        part = select(settings, most)
        assert part.rows == whole.rows[:most]
        assert part.left_out == whole.total - most
        assert part.flips_shown == min(most, whole.flips)


def test_what_is_left_out_is_said(runs: Path, tmp_path: Path) -> None:
    made = write_report(runs, tmp_path / "r.html", max_samples=5, tasks_dir=TASKS_DIR)
    assert (made.samples, made.left_out) == (5, 29)
    page = Page(made.path)
    assert any("5 of 34 samples are in the browser" in text for text in page.shown)
    assert not any("{" in text for text in page.shown)
    assert len(page.json("payload")["rows"]) == 5


def test_pictures_are_bounded_in_size_and_number(tmp_path: Path) -> None:
    for k in range(3):
        noise = np.random.default_rng(k).integers(0, 256, (600, 900, 3), dtype=np.uint8)
        PIL.Image.fromarray(noise).save(tmp_path / f"{k}.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    pictures = Pictures(budget=1)
    images = [Image(f"{k}.png", tmp_path / f"{k}.png") for k in range(3)]
    assert [pictures.number(image) for image in images] == [0, LEFT_OUT, LEFT_OUT]
    assert pictures.entries[0][1:] == (SIDE, SIDE * 600 // 900)
    assert pictures.left_out == 2
    wide = Pictures(budget=10**9)
    assert [wide.number(image) for image in (*images, images[0])] == [0, 1, 2, 0]
    assert wide.number(Image("bad.png", tmp_path / "bad.png")) == UNREADABLE
    assert "bad.png" in wide.unreadable["bad.png"]


def test_mini_is_told_from_other_data(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(runs, out)
    for path in (out / "runs").glob("raven_iq*/run.json"):
        path.write_text(path.read_text().replace('"data": "local"', '"data": "mini"'))
    page = Page(write_report(out, tasks_dir=TASKS_DIR).path)
    assert any("mini: figures marked mini" in text for text in page.shown)
    tables = re.findall(r'<table class="board">.*?</table>', page.text, re.DOTALL)
    mini = [table for table in tables if "raven_iq" in table]
    assert mini
    assert not any("colours" in table or "hateful_memes" in table for table in mini)
    forests = re.findall(r'<h3><span class="badge badge-(\w+)">(\w+)</span> <bdi>mcot', page.text)
    assert sorted(forests) == [("data", "local"), ("mini", "mini")]


def test_dark_colours_are_the_same_however_they_are_asked_for(page: Page) -> None:
    style = page.styles[0]
    chosen = re.search(r':root\[data-theme="dark"\] \{(.*?)\}', style, re.DOTALL)
    preferred = re.search(r':root:not\(\[data-theme="light"\]\) \{(.*?)\}', style, re.DOTALL)
    assert chosen
    assert preferred
    assert chosen[1].split() == preferred[1].split()


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=8))
def test_an_axis_holds_its_values_between_round_ticks(values: list[float]) -> None:
    found = axis(values, 100, 0)
    steps = np.diff(found.ticks)
    hair = 1e-8 * steps[0]  # a value that lies beyond a tick by rounding alone gets no further tick
    assert found.low <= min(values) + hair
    assert found.high >= max(values) - hair
    assert 2 <= len(found.ticks) <= 7
    assert steps == pytest.approx(steps[0])
    assert f"{steps[0]:e}"[0] in "125"
    assert [found.at(v) for v in sorted(values)] == sorted((found.at(v) for v in values), reverse=True)


def test_the_command_writes_the_file_and_names_what_is_wrong(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "r.html"
    done = CliRunner().invoke(app, ["report", str(runs), "--out", str(out), "--tasks-dir", str(TASKS_DIR)])
    assert done.exit_code == 0, done.output
    assert "34 samples" in done.output
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    for wrong in (["--out", str(tmp_path)], ["--max-samples", "0"]):
        assert CliRunner().invoke(app, ["report", str(runs), *wrong]).exit_code == 2
    with pytest.raises(UsageError, match="no runs"):
        write_report(tmp_path)
