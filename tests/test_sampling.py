"""Which samples are asked about, which are shown, and when answers that are there are scored again."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from made_up_data import cell, colours, write_colours

from kosmos_eval.demos import limited
from kosmos_eval.errors import PromptError
from kosmos_eval.metrics import Accuracy, MajorityBaseline
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.run import run
from kosmos_eval.task import Sample


@pytest.mark.parametrize("labels", ["a", "ab", "aaab", "aaaaaabbbcde", "abcdefg"])
def test_a_smaller_limit_is_a_part_of_a_larger_one(labels: str) -> None:
    rng = random.Random(1)
    samples = [Sample(str(i), label=rng.choice(labels)) for i in range(120)]
    share = {label: count / len(samples) for label, count in Counter(s.label for s in samples).items()}
    before: set[str] = set()
    for limit in range(1, len(samples) + 1):
        chosen = limited(samples, limit, seed=3)
        assert len(chosen) == limit
        assert before <= {s.id for s in chosen}
        before = {s.id for s in chosen}
        counts = Counter(s.label for s in chosen)
        assert all(abs(counts[label] - limit * share[label]) < 2 for label in share)
    shuffled = rng.sample(samples, len(samples))
    assert {s.id for s in limited(shuffled, 17, seed=3)} == {s.id for s in limited(samples, 17, seed=3)}


def test_text_demonstrations_at_zero_shots_say_that_they_are_of_the_same_split(tmp_path: Path) -> None:
    prompts = tmp_path / "colours.yaml"
    stage = "    - {ask: '<image> {{ question }}', score: answers}\n"
    demo = "  demo: '<image> {{ question }}{{ answer }}'\n  zero_shot_text_demos: 2\n"
    prompts.write_text(f"flamingo:\n{demo}  stages:\n{stage}")
    task = colours(write_colours(tmp_path / "data", {"train": 4, "test": 1}), split="train")
    done = run(cell(task, "flamingo", prompts=prompts), FakeModel(), tmp_path)
    assert done.manifest.demos_same_split
    assert all(len(r.demos) == 2 and r.sample_id not in r.demos for r in done.folder.records().values())


def test_another_metric_scores_the_answers_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = colours(write_colours(tmp_path / "data", {"train": 4, "test": 4}))
    monkeypatch.setattr(type(task), "metrics", (Accuracy(),))
    run(cell(task), FakeModel(), tmp_path)
    monkeypatch.setattr(type(task), "metrics", (Accuracy(), MajorityBaseline()))
    again = run(cell(task), FakeModel(), tmp_path)
    assert again.asked == 0
    assert [s["metric"] for s in (again.folder.scores() or {})["scores"]] == ["accuracy", "majority"]


@pytest.mark.parametrize("text", ["{{ 1 / 0 }}", "{{ question[99] }}", "{{ question.colour }}", "{{ question * 9 }}"])
def test_a_template_that_cannot_be_filled_in_is_one_error(text: str, tmp_path: Path) -> None:
    prompts = tmp_path / "mine.yaml"
    prompts.write_text(f"standard:\n  demo: ''\n  stages:\n    - {{ask: '{text}', score: answers}}\n")
    task = colours(write_colours(tmp_path / "data", {"train": 4, "test": 4}))
    with pytest.raises(PromptError, match=r"mine\.yaml: standard\.stages\.0\.ask: cannot be filled in"):
        cell(task, prompts=prompts)
