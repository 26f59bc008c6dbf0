"""CLIP and SigLIP: scores are those of transformers' own logits, and what they cannot be asked is refused by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders
import pytest
import tiny_models
import torch
from checkpoints import picture

from kosmos_eval import load_image
from kosmos_eval.api import evaluate, load_task
from kosmos_eval.models import model_for_run
from kosmos_eval.models.clip import ClipModel
from kosmos_eval.prompt import Image, Text
from kosmos_eval.request import Choice, Generate, Request, Score, Stage

TEXTS = {" positive": " a good film.", " negative": " a bad film.", " neither": " a dog of the red house."}


@pytest.fixture(scope="module", params=["clip", "siglip"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp(request.param)
    getattr(tiny_models, request.param)(made)
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> ClipModel:
    return ClipModel.load(folder, "clip:tiny")


def texts(shown: list[Image], choices: dict[str, str] = TEXTS) -> Request:
    act = Score(tuple(Choice(name, text) for name, text in choices.items()))
    return Request("a", (), (Stage("answer", tuple(shown), act),))


def reference(model: ClipModel, pictures: list[Any], said: list[str]) -> torch.Tensor:
    """Log-probabilities (pictures, texts) of the whole model's own forward pass, all texts in one padded batch."""
    padding = "max_length" if model.model.config.model_type == "siglip" else True
    inputs = model.processor(text=said, images=pictures, return_tensors="pt", padding=padding)
    with torch.no_grad():
        return model.model(**inputs).logits_per_image.log_softmax(dim=-1)


def scores(model: ClipModel, request: Request) -> dict[str, float]:
    response = dict(model.run([request]))[0]
    assert response.error is None
    assert response.scores is not None
    return response.scores


def test_scores_are_those_of_the_models_own_logits(model: ClipModel) -> None:
    rng = random.Random(0)
    shown = [picture(rng) for _ in range(6)]
    expected = reference(model, shown, [text.strip() for text in TEXTS.values()])
    found = [scores(model, texts([Image.of(one)])) for one in shown]
    assert torch.tensor([list(one.values()) for one in found]) == pytest.approx(expected, abs=1e-4)
    assert list(found[0]) == list(TEXTS)
    # The comparison means something only if texts and pictures matter.
    assert (expected.max(dim=1).values - expected.min(dim=1).values).min() > 1e-2
    assert (expected.max(dim=0).values - expected.min(dim=0).values).max() > 1e-2


def test_candidates_are_likened_to_the_mean_of_the_panels(model: ClipModel) -> None:
    rng = random.Random(1)
    panels, candidates = [picture(rng) for _ in range(3)], [picture(rng) for _ in range(4)]
    act = Score(tuple(Choice(str(i), " Yes", (Image.of(c),)) for i, c in enumerate(candidates)))
    found = scores(model, Request("a", (), (Stage("answer", tuple(map(Image.of, panels)), act),)))
    pixels = model.processor(images=panels + candidates, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        features = model.model.vision_model(pixels).pooler_output
        if hasattr(model.model, "visual_projection"):
            features = model.model.visual_projection(features)
        units = features / features.norm(dim=-1, keepdim=True)
        mean = units[:3].mean(dim=0)
        expected = (model.model.logit_scale.exp() * units[3:] @ mean / mean.norm()).log_softmax(dim=0)
    assert list(found.values()) == pytest.approx(expected.tolist(), abs=1e-4)
    assert max(found.values()) - min(found.values()) > 1e-2


BUILT: dict[str, Callable[[Path], Path]] = {
    "rendered_sst2": builders.rendered_sst2, "hateful_memes": builders.hateful_memes, "raven_iq": builders.raven_iq50,
}  # fmt: skip


@pytest.mark.parametrize("name", BUILT)
def test_the_tasks_prompt_runs_and_others_are_refused_by_name(folder: Path, name: str, tmp_path: Path) -> None:
    task, model = load_task(name, BUILT[name](tmp_path)), model_for_run(f"clip:{folder}")
    done = evaluate(model, task, prompt="clip")
    assert done.failed == 0
    assert list(done.samples["prediction"].notna()) == [True] * builders.EVAL
    for prompt, shots, says in (("standard", 0, "reads no question"), ("clip", 2, "0 shots"), ("mcot", 0, "no text")):
        refused = evaluate(model, task, prompt=prompt, shots=shots)
        assert refused.failed == builders.EVAL
        assert all(score.value is None for score in refused.scores if score.primary)
        assert says in " ".join(refused.errors.values())


def test_the_wording_of_the_task_is_what_is_likened(folder: Path, tmp_path: Path) -> None:
    task = load_task("rendered_sst2", builders.rendered_sst2(tmp_path))
    model = ClipModel.load(folder, "clip:tiny")
    rows = evaluate(model, task, prompt="clip").samples
    shown = [load_image(s.images[0]) for s in task.samples]
    said = [f"a {label} review of a movie." for label in ("positive", "negative")]
    likeliest = [task.answers[i].strip() for i in reference(model, shown, said).argmax(dim=1)]
    assert likeliest == list(rows["prediction"])


def test_what_cannot_be_likened_is_said(model: ClipModel) -> None:
    image, one = Image.of(picture(random.Random(2))), {"a": " a dog"}
    long = texts([image], {"a": " a dog" * 40})
    writing = Request("a", (), (Stage("answer", (image,), Generate(4)),))
    blind = Request("a", (), (Stage("answer", (image,), texts([image]).stages[0].act, image="drop"),))
    asked = Request("a", (), (Stage("answer", (image, Text(" is it?")), texts([image], one).stages[0].act),))
    answers = dict(model.run([long, writing, blind, asked, texts([image], one)]))
    for k, says in enumerate(("longer than", "writes no text", "shows none", "reads no question")):
        assert says in str(answers[k].error)
        assert not answers[k].fits
    assert answers[4].error is None
