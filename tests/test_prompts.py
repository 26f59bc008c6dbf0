"""Built-in prompts, rendered: which images and texts a model is given, in which order, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import builders
import pytest
from builders import LAYOUTS, Layout

from kosmos_eval.demos import DemoChooser
from kosmos_eval.errors import PromptError, UsageError
from kosmos_eval.plan import Asking, request
from kosmos_eval.plugins import prompt_file, task_class
from kosmos_eval.prompt import Image, Output, Segment, Text
from kosmos_eval.request import Choice, Generate, Request, Score
from kosmos_eval.task import Sample, Task
from kosmos_eval.template import PromptFile

ONE_EACH = {layout.task: layout for layout in reversed(LAYOUTS)}
PROMPTS = [(task, prompt) for task in sorted(ONE_EACH) for prompt in prompt_file(task).templates]
each_prompt = pytest.mark.parametrize(("name", "prompt"), PROMPTS)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Task]:
    return {name: _opened(layout, tmp_path_factory.mktemp(name)) for name, layout in ONE_EACH.items()}


def _opened(layout: Layout, folder: Path) -> Task:
    return task_class(layout.task)(layout.build(folder), layout.split)


def asking(task: Task, prompt: str, shots: int, seed: int = 0, prompts: PromptFile | None = None) -> Asking:
    prompts = prompts or prompt_file(task.name)
    template = prompts[prompt]
    pool, _ = task.demonstration_pool()
    rationales = {s.id: f"rationale of {s.id}." for s in pool} if template.rationale_name else None
    chooser = DemoChooser(pool, "fixed", shots or template.zero_shot_text_demos, seed)
    plain = prompts.templates["standard"].demo
    return Asking(
        task.name, prompt, template, task.answers, chooser, plain, rationales, text_demos=not shots, others=task.samples
    )


def ask(task: Task, prompt: str, shots: int, sample: Sample | None = None) -> tuple[Request, tuple[str, ...]]:
    return request(sample or task.samples[0], asking(task, prompt, shots))


def pictures(segments: tuple[Segment, ...]) -> list[Image]:
    return [s for s in segments if isinstance(s, Image)]


def written(segments: tuple[Segment, ...]) -> str:
    """Segments as one would read them."""
    shown = []
    for s in segments:
        match s:
            case Text(text):
                shown.append(text)
            case Image():
                shown.append("<image>")
            case Output(stage):
                shown.append(f"[{stage}]")
            case _:
                shown.append("<tag>")
    return "".join(shown)


def shown_images(sample: Sample) -> list[Image]:
    """What a demonstration shows: the sample's images, and of a puzzle the right candidate."""
    right = [sample.candidates[str(sample.target)]] if sample.candidates else []
    return [*sample.images, *right]


@each_prompt
@pytest.mark.parametrize("shots", [0, 1, 3])
def test_images(name: str, prompt: str, shots: int, tasks: dict[str, Task]) -> None:
    """Image i belongs to demonstration i; the query's come once, after them."""
    task = tasks[name]
    pool = {s.id: s for s in task.demonstration_pool()[0]}
    for sample in task.samples:
        made, demo_ids = ask(task, prompt, shots, sample)
        template = prompt_file(name)[prompt]
        text_only = shots == 0 and template.zero_shot_text_demos
        assert len(demo_ids) == (template.zero_shot_text_demos if text_only else shots)
        pictured = "<image" in template.stages[0].ask
        expected = [] if text_only or not pictured else [i for d in demo_ids for i in shown_images(pool[d])]
        assert pictures(made.context) == expected
        shown = [i for stage in made.stages for i in pictures(stage.segments)]
        assert shown == (list(sample.images) if pictured else [])
        act = made.stages[-1].act
        if isinstance(act, Score) and sample.candidates:
            assert {c.name: pictures(c.segments) for c in act.choices} == {
                k: [image] for k, image in sample.candidates.items()
            }


@each_prompt
def test_no_prompt_ends_or_scores_with_a_stray_blank(name: str, prompt: str, tasks: dict[str, Task]) -> None:
    """The tokenizer makes a token of its own of a final blank; answers bring theirs."""
    made, _ = ask(tasks[name], prompt, 2)
    text = written(made.context) + "".join(written(stage.segments) for stage in made.stages)
    assert "  " not in text
    for stage in made.stages:
        assert not written(stage.segments).endswith(" ")
        if isinstance(stage.act, Score):
            assert all(c.target.startswith(" ") for c in stage.act.choices)


@each_prompt
def test_says_whose_wording_it_is(name: str, prompt: str, tasks: dict[str, Task]) -> None:
    source = prompt_file(name)[prompt].source
    assert source.startswith(("paper: KOSMOS-1 table", "ours", "open_flamingo eval", "CLIP data/prompts.md"))
    assert prompt_file(name).path.read_text().startswith("# ")
    if prompt == "mcot":
        assert ("paper" in source) == (name == "rendered_sst2")


@pytest.mark.parametrize("name", sorted(ONE_EACH))
def test_standard_and_mcot_show_the_same_demonstrations(name: str, tasks: dict[str, Task]) -> None:
    for seed in range(3):
        for sample in tasks[name].samples:
            ids = [request(sample, asking(tasks[name], p, 3, seed))[1] for p in ("standard", "mcot")]
            assert ids[0] == ids[1]


EXPECTED = {
    ("rendered_sst2", "standard"): ["<image> Question: what is the sentiment of the opinion? Answer:"],
    ("rendered_sst2", "mcot"): [
        "<image> Introduce this picture in detail:", " Question: what is the sentiment of the opinion? Answer:",
    ],
    ("hateful_memes", "standard"): ["<image> Question: does this picture contain real hate speech? Answer:"],
    ("hateful_memes", "openflamingo"): ["<image>is an image with: 'words 10' written on it. Is it hateful? Answer:"],
    ("vqav2", "standard"): ["<image> Question: what colour is thing 10? Answer:"],
    ("vqav2", "mcot"): [
        "<image> Introduce this picture in detail:", " Question: what colour is thing 10? Answer:",
    ],
    ("vqav2", "openflamingo"): ["<image>Question:what colour is thing 10? Short answer:"],
    ("vizwiz", "standard"): ["<image> Question: what is 0? Answer:"],
    ("flickr30k", "standard"): ["<image> An image of"],
    ("flickr30k", "openflamingo"): ["<image>Output:"],
    ("coco_captions", "standard"): ["<image> An image of"],
    ("raven_iq", "standard"): ["Here are three images:<image><image><image> The following image is:"],
    ("raven_iq", "mcot"): [
        "Here are three images:<image><image><image> Introduce these pictures in detail:", " The following image is:",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "prompt"), EXPECTED)
def test_wording(name: str, prompt: str, tasks: dict[str, Task]) -> None:
    made, _ = ask(tasks[name], prompt, 0)
    assert [written(stage.segments) for stage in made.stages] == EXPECTED[name, prompt]


def test_wording_of_demonstrations(tasks: dict[str, Task]) -> None:
    contexts = {key: written(ask(tasks[key[0]], key[1], 1)[0].context) for key in PROMPTS}
    assert contexts["rendered_sst2", "standard"].startswith(
        "<image> Question: what is the sentiment of the opinion? Answer: "
    )
    demo = asking(tasks["vqav2"], "mcot", 1).chooser.choose(tasks["vqav2"].samples[0])[0]
    question = demo.fields["question"]
    assert contexts["vqav2", "mcot"] == (
        f"<image> Introduce this picture in detail: rationale of {demo.id}. Question: {question} Answer: red"
    )
    assert contexts["vqav2", "openflamingo"] == f"<image>Question:{question} Short answer:red\n"
    assert contexts["flickr30k", "standard"].startswith("<image> An image of Caption 0 of ")
    assert contexts["raven_iq", "standard"] == (
        "Here are three images:<image><image><image> The following image is:<image> Is it correct? Yes"
    )


def test_decoding(tasks: dict[str, Task]) -> None:
    def acts(name: str, prompt: str) -> list[Generate | Score]:
        return [stage.act for stage in ask(tasks[name], prompt, 0)[0].stages]

    assert acts("vqav2", "standard") == [Generate(32, 1, 1.0, 0, ("<image>", "Question:"))]
    assert acts("flickr30k", "standard")[0].beams == 5  # type: ignore[union-attr]
    assert acts("vqav2", "openflamingo")[0] == Generate(5, 3, 0.0, 0, ("<image>", "Question", "Answer", "Short", ", "))
    for name in ONE_EACH:
        assert acts(name, "mcot")[0].max_tokens == 320  # type: ignore[union-attr]
    (score,) = acts("raven_iq", "standard")
    assert isinstance(score, Score)
    assert {(written(c.segments), c.target) for c in score.choices} == {("<image> Is it correct?", " Yes")}


def test_markers_in_data_stay_text(tmp_path: Path) -> None:
    folder = builders.vqav2(tmp_path)
    path = folder / "v2_OpenEnded_mscoco_val2014_questions.json"
    nasty = "is <image> a {{ answer }} <grounding> or {% raw %} <candidate>?"
    value = json.loads(path.read_text())
    value["questions"][0]["question"] = nasty
    path.write_text(json.dumps(value))
    made, _ = ask(task_class("vqav2")(folder), "standard", 0)
    kinds = [type(s) for s in made.stages[0].segments]
    assert kinds == [Image, Text]
    assert made.stages[0].segments[1] == Text(f" Question: {nasty} Answer:")


BROKEN = {
    "demo: 'x'\n  stages: [{ask: '<image> {{ qestion }}', score: answers}]": "unknown variable 'qestion'.*'question'",
    "demo: 'x'\n  stages: [{ask: '<image> <image>', generate: {}}]": "more <image> markers",
    "demo: 'x'\n  stages: [{ask: '<image>', score: answers}]": "lists none",
    "demo: 'x'\n  stages: [{ask: '<candidate>', generate: {}}]": "<candidate> stands where",
    "demo: 'x'\n  stages: [{ask: '<image>', score: {choice: '<candidate>', target: ' Yes'}}]": "has none",
    "demo: 'x'\n  stages: [{ask: '{{ answer | upper }}', generate: {}}]": "unknown variable 'answer'",
    "demo: 'x'\n  stages: [{ask: '{{ question', generate: {}}]": "prompts.yaml: standard",
    "demo: 'x'\n  stages: [{ask: '<image>', generat: {}}]": "did you mean 'generate'",
    "demo: 'x'\n  stages: [{ask: '<image>'}]": "either 'generate' or 'score'",
    "demo: 'x'\n  stages: []": "standard.stages",
    "demo: 'x'": "standard.stages",
    "demo: ['x'": "not readable as YAML",
}


@pytest.mark.parametrize("text", BROKEN)
def test_broken_prompts(text: str, tmp_path: Path, tasks: dict[str, Task]) -> None:
    path = tmp_path / "prompts.yaml"
    path.write_text(f"standard:\n  {text}\n")
    with pytest.raises(PromptError, match=BROKEN[text]) as caught:
        request(tasks["vqav2"].samples[0], asking(tasks["vqav2"], "standard", 0, prompts=PromptFile.read(path)))
    assert "\n" not in str(caught.value)


def test_texts_stand_for_the_answers_in_the_tasks_order(tmp_path: Path, tasks: dict[str, Task]) -> None:
    def act(texts: str) -> Generate | Score:
        path = tmp_path / "prompts.yaml"
        path.write_text(f"standard: {{demo: x, stages: [{{ask: '<image>', score: {{texts: {texts}}}}}]}}")
        task = tasks["hateful_memes"]
        return request(task.samples[0], asking(task, "standard", 0, prompts=PromptFile.read(path)))[0].stages[0].act

    assert act("{' yes': ' bad', ' no': ' good'}") == Score((Choice(" no", " good"), Choice(" yes", " bad")))
    for wrong in ("{' yes': ' bad'}", "{' yes': ' bad', nope: ' good'}", "{' yes': '', ' no': '', ' maybe': ''}"):
        with pytest.raises(PromptError, match=r"standard\.stages\.0: gives texts for .* the answers are ' no', ' yes'"):
            act(wrong)


def test_unknown_prompt() -> None:
    with pytest.raises(UsageError, match="did you mean 'mcot'"):
        prompt_file("vqav2")["mcott"]


def test_the_shuffled_control_shows_another_samples_rationale(tasks: dict[str, Task]) -> None:
    task = tasks["rendered_sst2"]
    shown = {s.id: written(ask(task, "mcot_shuffled", 0, s)[0].stages[0].segments) for s in task.samples}
    for sample in task.samples:
        others = [str(s.fields["rationale"]) for s in task.samples if s.id != sample.id]
        assert str(sample.fields["rationale"]) not in shown[sample.id]
        assert any(rationale in shown[sample.id] for rationale in others)
    again = written(ask(task, "mcot_shuffled", 0, task.samples[0])[0].stages[0].segments)
    assert again == shown[task.samples[0].id]
