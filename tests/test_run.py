"""Runs: whatever happens to a process, what it kept is right, and what comes out does not depend on it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkpoints import make_checkpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_data import TASKS_DIR, cell, colours, write_colours

import kosmos_eval.work as work_module
from kosmos_eval.api import evaluate
from kosmos_eval.cell import Cell
from kosmos_eval.engine.limits import Limits
from kosmos_eval.errors import DataError, PromptError, UsageError
from kosmos_eval.models.fake import FakeModel, ScriptedCrashError
from kosmos_eval.models.kosmos import KosmosModel
from kosmos_eval.prompt import Text
from kosmos_eval.record import Record
from kosmos_eval.request import ChoiceScore, Generate, Request, Response, Stage, StageResult
from kosmos_eval.run import RunResult, run, run_path
from kosmos_eval.store import RESPONSES, RunBusyError, RunFolder
from kosmos_eval.tables import leaderboard
from kosmos_eval.task import Task

UNIT = 5


@pytest.fixture(autouse=True)
def _small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "UNIT_SAMPLES", UNIT)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return colours(write_colours(tmp_path_factory.mktemp("colours"), {"train": 8, "test": 13}))


def kept(folder: RunFolder) -> dict[str, Any]:
    """All that a run says, without the clock."""
    records = {key: replace(record, seconds=0.0) for key, record in folder.records().items()}
    return {
        "records": records,
        "scores": folder.scores(),
        "per_sample": folder.per_sample(),
        "samples": folder.samples(),
    }


def run_until_done(planned: Cell, out: Path, crashes: Iterable[int], tear: bool) -> RunResult:
    """Runs with a process that crashes after so many responses, again and again, then one that does not."""
    for crash in crashes:
        try:
            run(planned, FakeModel(crash_after=crash), out)
        except ScriptedCrashError:
            if tear:
                _tear_last_line(out)
    return run(planned, FakeModel(), out)


def _tear_last_line(out: Path) -> None:
    for path in out.rglob("*.jsonl"):
        data = path.read_bytes()
        start = data.rfind(b"\n", 0, len(data) - 1) + 1
        path.write_bytes(data[: start + (len(data) - start) // 2])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    crashes=st.lists(st.integers(0, 17), max_size=3), tear=st.booleans(), prompt=st.sampled_from(["mcot", "standard"])
)
def test_crashes_anywhere_change_nothing(task: Task, crashes: list[int], tear: bool, prompt: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        planned = cell(task, prompt, shots=2)
        whole = run(planned, FakeModel(), Path(scratch, "whole"))
        broken = run_until_done(planned, Path(scratch, "broken"), crashes, tear)
        assert kept(broken.folder) == kept(whole.folder)
        assert broken.manifest.status == "finished"


def test_finished_run_asks_nothing(task: Task, tmp_path: Path) -> None:
    planned = cell(task, "mcot_model", shots=2)
    first = run(planned, FakeModel(), tmp_path)
    model = FakeModel()
    again = run(planned, model, tmp_path)
    assert model.seen == []
    assert again.asked == 0
    assert again.manifest == first.manifest


@pytest.mark.parametrize("what", ["answers", "demonstrations", "groups"])
def test_scores_follow_what_is_asked_now(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_colours(tmp_path / "data", {"train": 4, "test": 13})
    train = (folder / "train.json").read_text()

    def go(changed: bool, out: Path) -> RunResult:
        task = colours(folder)
        read, other = type(task).read, train.replace("red", "?").replace("blue", "red").replace("?", "blue")
        (folder / "train.json").write_text(other if changed and what == "demonstrations" else train)
        with monkeypatch.context() as patch:
            if changed and what == "answers":
                patch.setattr(type(task), "answers", (" red", " blue", " green"))
            if changed and what == "groups":
                grouped = lambda self, *where: (replace(s, group=s.label) for s in read(self, *where))  # noqa: E731
                patch.setattr(type(task), "read", grouped)
            return run(cell(task, shots=2), FakeModel(), out)

    apart = {changed: go(changed, tmp_path / f"{changed}") for changed in (False, True)}
    assert apart[False].folder.samples() != apart[True].folder.samples()
    for changed in (False, True, False):
        found = go(changed, tmp_path / "together")
        assert found.folder.scores() == apart[changed].folder.scores()
        assert found.folder.samples() == apart[changed].folder.samples()
    assert not found.asked
    (found.folder.path / "samples.jsonl").unlink()
    assert go(False, tmp_path / "together").folder.samples() == apart[False].folder.samples()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fields": {"question": "?", "depth": math.nan}}, "'test/0': a field or its target holds NaN"),
        ({"id": 7}, "the id 7 is of type int"),
        ({"id": "\ud800"}, "half of a surrogate pair"),
        ({"target": "Red"}, "has the target 'Red'; target is none of the answers ' red', ' blue'"),
    ],
)
def test_what_could_not_be_kept_or_credited_is_said_before_a_model_is_asked(
    task: Task, changes: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = task.samples
    read = [replace(first, **changes), *others]
    monkeypatch.setattr(type(task), "read", lambda self, data, split: read if split == "test" else others)
    with pytest.raises(DataError, match=words):
        run(cell(type(task)(task.data)), FakeModel(refuse=lambda request: pytest.fail("asked")), tmp_path)


def test_order_of_answers_does_not_matter(task: Task, tmp_path: Path) -> None:
    planned = cell(task, "mcot", shots=2)
    plain = run(planned, FakeModel(), tmp_path / "a")
    shuffled = run(planned, FakeModel(shuffle=3), tmp_path / "b")
    assert kept(plain.folder) == kept(shuffled.folder)


def test_an_incomplete_unit_is_run_again_whole(task: Task, tmp_path: Path) -> None:
    planned = cell(task)
    with pytest.raises(ScriptedCrashError):
        run(planned, FakeModel(crash_after=7), tmp_path)
    model = FakeModel()
    done = run(planned, model, tmp_path)
    assert len(model.seen) == done.asked == 13 - UNIT
    lines = (done.folder.path / RESPONSES).read_text().splitlines()
    assert len(lines) == 13


def test_limit_is_a_part_of_the_whole(task: Task, tmp_path: Path) -> None:
    whole = run(cell(task, shots=2), FakeModel(), tmp_path).folder
    part = run(cell(task, shots=2, limit=6), FakeModel(), tmp_path).folder
    assert part.path != whole.path
    answers = {key: r.response for key, r in whole.records().items()}
    limited = {key: r.response for key, r in part.records().items()}
    assert len(limited) == 6
    assert limited.items() <= answers.items()
    assert {s["label"] for s in part.samples()} == {"red", "blue"}


def test_another_wording_is_another_run(task: Task, tmp_path: Path) -> None:
    original = (TASKS_DIR / "colours.yaml").read_text()
    edited = tmp_path / "colours.yaml"
    edited.write_text(original.replace("Question: {{ question }}", "Q: {{ question }}"))
    before = run(cell(task, prompts=TASKS_DIR), FakeModel(), tmp_path / "out")
    changed = run(cell(task, prompts=edited), FakeModel(), tmp_path / "out")
    assert changed.asked == 13
    assert changed.folder.path != before.folder.path
    assert run(cell(task, prompts=TASKS_DIR), FakeModel(), tmp_path / "out").asked == 0
    rows = leaderboard(tmp_path / "out")
    assert set(rows["prompt"]) == {f"standard@{m.prompt_hash[:8]}" for m in (before.manifest, changed.manifest)}


def test_rationales_of_the_model_are_made_once_and_shown(task: Task, tmp_path: Path) -> None:
    model = FakeModel(answer=lambda request, stage, sequence: f"seen-{request.id}")
    done = run(cell(task, "mcot", shots=2), model, tmp_path)
    demos = done.manifest.demonstrations
    assert demos is not None
    assert done.manifest.rationale == "model"
    assert model.seen[:2] == sorted(demos, key=model.seen.index)
    assert len(model.seen) == 2 + 13
    assert done.manifest.rationales_hash


def test_rationale_sources_give_different_requests(tmp_path: Path) -> None:
    with_field = colours(write_colours(tmp_path / "data", {"train": 8, "test": 4}, rationales=True))
    assert cell(with_field, "mcot", shots=2).rationale_origin == "field"
    assert cell(with_field, "mcot_model", shots=2).rationale_origin == "model"
    assert cell(with_field, "mcot_plain", shots=2).rationale_origin == "none"
    assert cell(with_field, "mcot", shots=0).rationale_origin is None
    done = [run(cell(with_field, p, shots=2), FakeModel(), tmp_path) for p in ("mcot", "mcot_model", "mcot_plain")]
    assert len({frozenset(d.folder.records()) for d in done}) == 3


def test_standard_and_mcot_show_the_same_demonstrations(task: Task, tmp_path: Path) -> None:
    runs = [run(cell(task, p, shots=2, seed=5), FakeModel(), tmp_path).manifest for p in ("standard", "mcot")]
    assert runs[0].demonstrations == runs[1].demonstrations


class _Faulty(FakeModel):
    """Fails at one sample in the given way."""

    fault: str = ""

    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Response]]:
        for index, response in super().run(requests):
            if response.id == "test/3":
                yield index, self._failed(response)
            else:
                yield index, response

    def _failed(self, response: Response) -> Response:
        if self.fault == "nan":
            return replace(response, stages=(StageResult("answer", choices=(ChoiceScore(" red", math.nan, 1),)),))
        return Response(response.id, error="x.png: not a readable image")


@pytest.mark.parametrize("fault", ["nan", "image"])
def test_failed_sample_is_counted_not_scored_and_asked_again(task: Task, tmp_path: Path, fault: str) -> None:
    faulty = _Faulty()
    faulty.fault = fault
    done = run(cell(task), faulty, tmp_path)
    scores = done.folder.scores()
    assert scores is not None
    assert done.manifest.counts.failed == 1
    assert scores["scores"][0]["n"] == 12
    assert list(done.errors) == ["test/3"]
    assert run(cell(task), FakeModel(), tmp_path).asked == 1
    mended, whole = run(cell(task), FakeModel(), tmp_path), run(cell(task), FakeModel(), tmp_path / "whole")
    assert kept(mended.folder)["scores"] == kept(whole.folder)["scores"]


@pytest.mark.parametrize("how_many", ["all", "some"])
def test_what_does_not_fit_is_an_empty_score_with_its_reason(task: Task, tmp_path: Path, how_many: str) -> None:
    model = FakeModel(refuse=lambda request: how_many == "all" or request.id == "test/3")
    result = evaluate(model, task, out=tmp_path)
    assert set(result.metrics.values()) == {None}
    assert all(str(score.reason).startswith("does not fit: ") for score in result.scores)
    assert run(cell(task), FakeModel(), tmp_path).asked == 0
    assert run(cell(task), FakeModel(), tmp_path).errors == {}


def test_two_processes_do_not_write_one_run(task: Task, tmp_path: Path) -> None:
    folder = run(cell(task), FakeModel(), tmp_path).folder
    code = f"import fcntl,sys; f=open({str(folder.path / '.lock')!r},'a'); fcntl.flock(f,2); print('held',flush=True); sys.stdin.read()"  # noqa: E501
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(RunBusyError, match="another process"):
            run(cell(task), FakeModel(), tmp_path)
        other.communicate(b"")
    run(cell(task), FakeModel(), tmp_path)


def test_damage_inside_a_response_file_is_named(task: Task, tmp_path: Path) -> None:
    path = run(cell(task), FakeModel(), tmp_path).folder.path / RESPONSES
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], "{broken\n", *lines[1:]]))
    with pytest.raises(DataError, match=r"responses\.jsonl, line 2"):
        run(cell(task), FakeModel(), tmp_path)


def test_a_record_survives_its_line(task: Task, tmp_path: Path) -> None:
    for record in run(cell(task, "mcot", shots=1), FakeModel(), tmp_path).folder.records().values():
        again = Record.from_line(record.to_line())
        assert replace(again, seconds=0.0) == replace(record, seconds=0.0)
    with pytest.raises(ValueError, match="NaN"):
        Record.from_line('{"id": "a", "seconds": NaN}')


def test_cut_off_rationales_are_counted(task: Task, tmp_path: Path) -> None:
    model = FakeModel(answer=lambda request, stage, sequence: "one two three" if request.id == "test/1" else "one")
    scores = run(cell(task, "mcot"), model, tmp_path).folder.scores()
    assert scores is not None
    assert scores["cut_off"] == {"rationale": pytest.approx(1 / 13)}


def test_demonstrations_from_the_evaluated_split_are_said_to_be(tmp_path: Path) -> None:
    same = colours(write_colours(tmp_path / "data", {"train": 6, "test": 1}), split="train")
    done = run(cell(same, shots=2), FakeModel(), tmp_path)
    assert done.manifest.demos_same_split
    for record in done.folder.records().values():
        assert record.sample_id not in record.demos
        assert len(record.demos) == 2


def test_bad_requests_are_found_before_a_model_is_asked(task: Task, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="9 shots asked for, but only 8"):
        cell(task, shots=9)
    with pytest.raises(UsageError, match="did you mean 'mcot'"):
        cell(task, "mcott")
    with pytest.raises(UsageError, match="did you mean 'fixed'"):
        cell(task, shots=1, demos="fixd")
    with pytest.raises(UsageError, match="limit"):
        cell(task, limit=0)
    bad = tmp_path / "bad.yaml"
    bad.write_text("standard:\n  demo: ''\n  stages:\n    - {ask: '{{ questoin }}', score: answers}\n")
    with pytest.raises(PromptError, match="did you mean 'question'"):
        cell(task, prompts=bad)


def test_evaluate_gives_a_row_a_sample(task: Task) -> None:
    result = evaluate(FakeModel(), task, prompt="mcot", shots=2, limit=6, seed=1)
    assert list(result.samples.columns[:5]) == ["id", "prediction", "target", "score", "rationale"]
    assert len(result.samples) == 6
    assert result.metrics["accuracy"] == pytest.approx(100 * result.samples["score"].mean())
    assert result.path is None


def test_manifest_is_complete_and_strict(task: Task, tmp_path: Path) -> None:
    folder = run(cell(task, shots=1), FakeModel(), tmp_path).folder
    plain = json.loads((folder.path / "run.json").read_text())
    assert plain["sessions"][0]["versions"]["python"]
    assert plain["data_fingerprint"]
    assert plain["template"]["demo"]
    (folder.path / "run.json").write_text(json.dumps({**plain, "seeed": 1}))
    with pytest.raises(DataError, match="seeed"):
        folder.manifest()


def test_what_is_asked_of_whom_decides_the_key_and_how_fast_does_not(task: Task, tmp_path: Path) -> None:
    def keys(folder: Path, limits: Limits, **generate: Any) -> tuple[Path, str]:
        model = KosmosModel.load(folder, "k", limits=limits)
        asked = Request("a", (), (Stage("answer", (Text("x"),), Generate(**generate)),))
        return run_path(tmp_path, cell(task), model), asked.prompt_hash

    for seed in (0, 1):
        make_checkpoint(tmp_path / str(seed), seed)
    same = keys(tmp_path / "0", Limits(rows=1), beams=2)
    assert same == keys(tmp_path / "0", Limits(rows=64), beams=2)
    assert same[0] != keys(tmp_path / "1", Limits(rows=1), beams=2)[0]
    for other in ({"beams": 3}, {"beams": 2, "max_tokens": 5}, {"beams": 2, "stop": ("x",)}):
        assert same[1] != keys(tmp_path / "0", Limits(rows=1), **other)[1]
