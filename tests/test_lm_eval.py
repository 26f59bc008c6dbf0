"""KOSMOS under lm-eval, against Hugging Face's model at batch 1."""

from __future__ import annotations

import random
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import Reference, make_checkpoint, picture, words
from language_data import REAL, TextReference, write_tasks

from kosmos_eval.engine.limits import Limits
from kosmos_eval.errors import KosmosEvalError, RequestTooLongError, UsageError
from kosmos_eval.models.kosmos import KosmosModel
from kosmos_eval.models.locate import bundled
from kosmos_eval.prompt import Image, Prompt, Text

lm_eval = pytest.importorskip("lm_eval", reason="needs the lm-eval extra")

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.api.model import CachingLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

from kosmos_eval.interop.lm_eval_model import KosmosLM  # noqa: E402

TOLERANCE = 1e-4


def instances(kind: str, args: list[tuple[Any, ...]]) -> list[Instance]:
    return [Instance(kind, {}, arg, i) for i, arg in enumerate(args)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    make_checkpoint(folder, seed=3)
    return folder


@pytest.fixture(scope="module")
def reference(folder: Path) -> TextReference:
    return TextReference(folder)


@pytest.fixture(scope="module")
def model(folder: Path) -> KosmosModel:
    return KosmosModel.load(folder, "tiny")


@pytest.fixture
def lm(model: KosmosModel) -> KosmosLM:
    return KosmosLM(model)


def test_is_known_to_lm_eval_and_hides_no_other_model() -> None:
    code = (
        "import kosmos_eval.interop.lm_eval_model as ours\n"
        "from lm_eval.api.registry import get_model\n"
        "assert get_model('kosmos') is ours.KosmosLM\n"
        "print(get_model('dummy').__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "DummyLM"


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_lm_evals_default_device_is_no_error_without_a_gpu(folder: Path) -> None:
    assert KosmosLM(folder, device="cuda:0").device.type == "cpu"
    with pytest.raises(UsageError, match="cuda:1"):
        KosmosLM(folder, device="cuda:1")


def test_is_declared_for_discovery() -> None:
    (found,) = entry_points(group="lm_eval.models", name="kosmos")
    assert found.value == "kosmos_eval.interop.lm_eval_model:KosmosLM"


def test_scores_of_pairs_are_those_of_hugging_face(lm: KosmosLM, reference: TextReference) -> None:
    rng = random.Random(0)
    shared = words(rng, 40)
    contexts = ["", "the ", *(f"{shared} {words(rng, rng.randint(1, 20))}" for _ in range(6)), "Question:\n\n"]
    pairs = [(context, f" {words(rng, rng.randint(1, 6))}") for context in contexts for _ in range(3)]
    found = lm.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)
    for pair, (logprob, greedy) in zip(pairs, found, strict=True):
        expected = reference.score(*pair)
        assert logprob == pytest.approx(expected[0], abs=TOLERANCE), pair
        assert greedy == expected[1], pair


def test_tells_greedy_continuations(lm: KosmosLM, reference: TextReference) -> None:
    context = reference.ids("the red dog sees a house")
    ids = list(context)
    for _ in range(5):
        ids.append(int(reference.logprobs(ids)[-1].argmax()))
    target = ids[len(context) :]
    other = [*target[:-1], target[-1] + 1]
    asked = [(("", ""), context, target), (("", ""), context, other), (("", ""), context, target[:2])]
    assert [greedy for _, greedy in lm._loglikelihood_tokens(asked, disable_tqdm=True)] == [True, False, True]


def test_what_data_say_is_text(lm: KosmosLM) -> None:
    ids = lm.tok_encode("is <image> good? </s>")
    assert not {lm.model.processor.tokenizer.tag("<image>"), lm.eot_token_id} & set(ids)


def test_a_shared_context_is_computed_once(lm: KosmosLM) -> None:
    runner, rng = lm.model.engine.runner, random.Random(1)
    shared = words(rng, 200)
    pairs = [(f"{shared} {words(rng, 3)}", f" {words(rng, 2)}") for _ in range(8) for _ in range(2)]
    before = runner.computed
    lm.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)
    assert runner.computed - before < 200 + len(pairs) * 16


def test_whole_texts_are_read_in_windows(model: KosmosModel, reference: TextReference) -> None:
    lm, text = KosmosLM(model, max_length=16), words(random.Random(2), 60)
    found = lm.loglikelihood_rolling(instances("loglikelihood_rolling", [(text,), ("the",), ("",)]), disable_tqdm=True)
    ids = reference.ids(text)
    # lm-eval's windows: 16 tokens each, the last one moved left so that it is full; no token is predicted twice.
    expected, start = 0.0, 1
    while start < len(ids):
        end = min(start + 16, len(ids))
        first = max(end - 17, 0)
        rows = reference.logprobs(ids[first:end])
        expected += sum(rows[i - first - 1, ids[i]].item() for i in range(start, end))
        start = end
    assert found == pytest.approx([expected, reference.score("", "the")[0], 0.0], abs=TOLERANCE)


@pytest.mark.parametrize("most", [12, None])
def test_long_contexts_are_cut_on_their_left(
    model: KosmosModel, reference: TextReference, caplog: pytest.LogCaptureFixture, most: int | None
) -> None:
    """To `max_length`, or to all positions that the model has."""
    lm, rng = KosmosLM(model, max_length=most), random.Random(3)
    long = 2 * lm.max_length
    pair = words(rng, long), " red dog"
    ((logprob, _),) = lm.loglikelihood(instances("loglikelihood", [pair]), disable_tqdm=True)
    assert logprob == pytest.approx(reference.score(*pair, most=lm.max_length + 1)[0], abs=TOLERANCE)
    assert "cut on their left" in caplog.text
    with pytest.raises(RequestTooLongError, match=f"max_length={lm.max_length}"):
        lm.loglikelihood(instances("loglikelihood", [("a", f" {words(rng, long)}")]), disable_tqdm=True)


def test_writes_until_a_string(lm: KosmosLM, reference: TextReference) -> None:
    context = "the red dog sees a house"
    ids = reference.ids(context)
    how = {"do_sample": False, "max_new_tokens": 12, "eos_token_id": 2, "pad_token_id": 1}
    written = reference.hf.text_model.generate(input_ids=torch.tensor([ids]), **how)[0, len(ids) :]
    whole = reference.tokenizer.decode([i for i in written.tolist() if i > 2])
    middle = whole[len(whole) // 2 :][:3]
    kwargs = {"until": ["\n\n"], "max_gen_toks": 12, "do_sample": False, "temperature": 0.0}
    asked = [(context, kwargs), (context, {**kwargs, "until": [middle]}), (context, {**kwargs, "num_beams": 2})]
    plain, cut, beams = lm.generate_until(instances("generate_until", asked), disable_tqdm=True)
    assert plain.split() == whole.split()
    assert cut == whole[: whole.index(middle)].rstrip()
    assert beams
    assert kwargs["until"] == ["\n\n"], "lm-eval's arguments are its own: its cache knows requests by them"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"do_sample": True}, "sampling"),
        ({"temperature": 0.7}, "sampling"),
        ({"num_beans": 3}, "did you mean 'num_beams'"),
        ({"max_gen_toks": 5000}, "leaves no room"),
    ],
)
def test_refuses_what_it_cannot_write(lm: KosmosLM, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lm.generate_until(instances("generate_until", [("the dog", {"until": [], **kwargs})]), disable_tqdm=True)


def test_scores_and_writes_with_pictures(lm: KosmosLM, folder: Path) -> None:
    from transformers import Kosmos2ForConditionalGeneration

    hf = Reference(Kosmos2ForConditionalGeneration.from_pretrained(folder).eval(), lm.model)
    a, b = (picture(random.Random(i)) for i in range(2))
    asked = [
        ("<image> is it red? Answer:", " yes", {"visual": [a]}),
        ("<image> is it red? Answer:", " no", {"visual": [a]}),
        ("<image> is it red? Answer:", " yes", {"visual": b}),
        ("the <image> and <image> Answer: ", "yes", {"visual": [b, a]}),
    ]
    found = lm.loglikelihood(instances("loglikelihood", asked), disable_tqdm=True)
    question = Text(" is it red? Answer:")
    expected = [
        hf.logprob([Image.of(a), question], Text(" yes")),
        hf.logprob([Image.of(a), question], Text(" no")),
        hf.logprob([Image.of(b), question], Text(" yes")),
        hf.logprob([Text("the"), Image.of(b), Text(" and"), Image.of(a), Text(" Answer:")], Text(" yes")),
    ]
    assert [logprob for logprob, _ in found] == pytest.approx(expected, abs=TOLERANCE)
    (text,) = lm.generate_until(
        instances("generate_until", [("<image> is it", {"until": ["</s>"], "max_gen_toks": 5}, {"visual": [a]})]),
        disable_tqdm=True,
    )
    assert text == lm.model.generate([Prompt(a, Text(" is it"))], max_new_tokens=5)[0]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"visual": []}, "--num_fewshot 0"),
        ({"visual": ["a.png"]}, "PIL images, not str"),
        ({"visual": [picture(random.Random(0))], "audio": [1]}, "audio"),
    ],
)
def test_refuses_pictures_that_do_not_fit_the_text(lm: KosmosLM, extra: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lm.loglikelihood(instances("loglikelihood", [("<image> a", " b", extra)]), disable_tqdm=True)


def test_lm_evals_cache_is_filled_while_the_model_answers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = KosmosLM(KosmosModel.load(folder, "tiny", limits=Limits(window=2)))
    cached = CachingLM(lm, str(tmp_path / "cache.db"))
    rng = random.Random(5)
    pairs = [(words(rng, 5), " red"), ("<image> a", " dog", {"visual": [picture(rng)]})]
    unanswerable = [*pairs, ("the", "")]
    with pytest.raises(KosmosEvalError, match="no token"):
        cached.loglikelihood(instances("loglikelihood", unanswerable))
    with monkeypatch.context() as patch:
        patch.setattr(lm.model.engine, "run", lambda requests: pytest.fail("asked again"))
        first = cached.loglikelihood(instances("loglikelihood", pairs))
    assert first == lm.loglikelihood(instances("loglikelihood", pairs))


@pytest.mark.parametrize("limit", [6, pytest.param(None, marks=pytest.mark.slow, id="all")])
def test_real_items_score_as_under_hugging_face(tmp_path: Path, limit: int | None) -> None:
    tasks = write_tasks(tmp_path)
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    lm = KosmosLM("kosmos-mini", device="cpu", dtype="float32")
    reference = TextReference(bundled("kosmos-mini"))
    results = lm_eval.simple_evaluate(
        model=lm, tasks=tasks, task_manager=manager, limit=limit, num_fewshot=0, bootstrap_iters=0
    )
    assert set(results["samples"]) == {f"local_{name}" for name in REAL}
    for task, samples in results["samples"].items():
        assert len(samples) == (limit or results["n-samples"][task]["original"])
        worst = 0.0
        for sample in samples:
            for args, ((logprob, greedy),) in zip(sample["arguments"], sample["resps"], strict=True):
                expected = reference.score(*args, most=lm.max_length + 1)
                worst = max(worst, abs(logprob - expected[0]))
                assert greedy == expected[1]
        print(f"{task}: {len(samples)} items, largest difference of a log-probability {worst:.1e}", flush=True)
        assert worst <= TOLERANCE
