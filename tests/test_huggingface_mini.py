"""Hugging Face's own Kosmos-2 through the `hf` back end says what our engine says, on every task of the mini suite."""

from __future__ import annotations

from typing import Any

import pytest

from kosmos_eval.api import load_task
from kosmos_eval.cell import Cell
from kosmos_eval.data.mini import MINI_TASKS
from kosmos_eval.models import model_for_run
from kosmos_eval.models.locate import bundled
from kosmos_eval.plugins import prompt_file

LIMIT = 6

ABSENT = not (bundled("kosmos-mini") / "config.json").is_file()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(ABSENT, reason="the bundled checkpoint is absent")]


@pytest.fixture(scope="module")
def models() -> tuple[Any, Any]:
    return model_for_run("kosmos-mini", "cpu", "float32"), model_for_run("hf:kosmos-mini", "cpu", "float32")


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("task", MINI_TASKS)
def test_same_choices_log_probabilities_and_texts(models: tuple[Any, Any], task: str, shots: int) -> None:
    cell = Cell.of(load_task(task), prompt_file(task), "standard", shots=shots, limit=LIMIT)
    asked = [request for request, _ in cell.plan(None)]
    ours, theirs = (dict(model.run(asked)) for model in models)
    worst = 0.0
    for i in range(len(asked)):
        assert ours[i].error is None
        assert theirs[i].error is None
        assert theirs[i].text == ours[i].text
        mine, other = ours[i].scores, theirs[i].scores
        if mine is None or other is None:
            continue
        assert max(other, key=other.__getitem__) == max(mine, key=mine.__getitem__)
        worst = max(worst, *(abs(mine[c] - other[c]) for c in mine))
    print(f"{task} {shots}-shot: largest difference of a log-probability {worst:.1e}")
    assert worst <= 1e-4
