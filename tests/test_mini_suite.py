"""The mini suite keeps its promises: official layouts, purity, a wall between splits, no short cut to the answers."""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from kosmos_eval.data import mini
from kosmos_eval.data.mini import captions, flickr30k, hateful_memes, raven_iq, rendered_sst2, vizwiz, vqav2
from kosmos_eval.data.mini.files import Layout
from kosmos_eval.data.mini.frozen import FROZEN
from kosmos_eval.data.mini.matrices import ATTRIBUTES, CONSTANT, PROGRESSION, Matrix, random_matrix
from kosmos_eval.data.mini.scenes import COLOURS, random_scene
from kosmos_eval.data.mini.seeding import EVAL, EVAL_COUNT, TRAIN, TRAIN_COUNT, belongs_to_eval
from kosmos_eval.errors import DataError

MODULES: dict[str, ModuleType] = {
    task: importlib.import_module(f"kosmos_eval.data.mini.{task}") for task in mini.MINI_TASKS
}
SMALL = {TRAIN: 20, EVAL: 20}
SMALL_HASH = {
    "rendered_sst2": ("875ffcc2f66b9abd5756bba47755e4a9", "980e61d3c74a073acc75933143491309"),
    "hateful_memes": ("26d92ec45b910e7b459e6b552ff3531e", "2741b96e612926e799e17567f86a037c"),
    "vqav2": ("cf4632c6fc2ae43a5397f3bbb2f722a5", "4d01794d74d67f925d1b0f93976d0dab"),
    "flickr30k": ("670af6124b48a529a6e987b51d061f5f", "583240f6a4e369c52ebf1aa9dcd6961e"),
    "vizwiz": ("fd85999b71a867cb8221e8126baa8d58", "e8c6e7772f09d96e981c8685e17de025"),
    "raven_iq": ("3907a0ec0b6acde148a24579b4bd33d6", "b5f15cf635b870b30906184202d129bc"),
}
PIXELS_OF = "13.0.0"


def items(task: ModuleType, split: str, count: int, start: int = 0) -> list[Any]:
    return [task.sample(split, index) for index in range(start, start + count)]


@pytest.fixture(scope="module")
def memes() -> tuple[list[Any], list[Any]]:
    return items(hateful_memes, TRAIN, TRAIN_COUNT), items(hateful_memes, EVAL, EVAL_COUNT)


@pytest.fixture(scope="module")
def opinions() -> tuple[list[Any], list[Any]]:
    return items(rendered_sst2, TRAIN, TRAIN_COUNT), items(rendered_sst2, EVAL, EVAL_COUNT)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Layout]:
    """Twenty items of each split of each task, on disk."""
    layouts = {task: Layout(tmp_path_factory.mktemp(task)) for task in MODULES}
    for task, layout in layouts.items():
        MODULES[task].write(layout, SMALL)
    return layouts


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def load_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def bag_of_words(train: Sequence[str], known: Sequence[Any], test: Sequence[str], labels: Sequence[Any]) -> float:
    model = make_pipeline(CountVectorizer(token_pattern=r"[a-z'-]+"), LogisticRegression(max_iter=1000))
    return 100 * float(model.fit(train, known).score(test, labels))


def vqa_accuracy(answers: Sequence[str], guess: str) -> float:
    """The official score: each annotator left out in turn, three of the other nine suffice."""
    left = [sum(a == guess for j, a in enumerate(answers) if j != i) for i in range(len(answers))]
    return 100 * float(np.mean([min(1.0, n / 3) for n in left]))


def mean_score(asked: Sequence[Any], guess: Callable[[Any], str]) -> float:
    return float(np.mean([vqa_accuracy([a for a, _ in item.answers], guess(item)) for item in asked]))


# ---- what is promised of all six ----


@pytest.mark.parametrize("task", mini.MINI_TASKS)
def test_frozen(task: str, small: dict[str, Layout]) -> None:
    """Fails when anything generated changes: then MINI_VERSION goes up, and so do FROZEN and these hashes."""
    content, pixels = SMALL_HASH[task]
    assert small[task].content_hash == content
    if PIL.__version__ == PIXELS_OF:
        assert small[task].pixel_hash == pixels


@pytest.mark.slow
@pytest.mark.parametrize("task", mini.MINI_TASKS)
def test_frozen_whole(task: str, tmp_path: Path) -> None:
    folder = mini.ensure_mini(task, tmp_path)
    marker = load(folder / mini.MARKER)
    assert (marker["suite"], marker["task"], marker["version"]) == ("mini", task, mini.MINI_VERSION)
    assert sorted(marker["counts"].values()) == [EVAL_COUNT, TRAIN_COUNT]
    assert marker["content_hash"] == FROZEN[task]
    assert marker["frozen"]


def test_items_are_pure_functions_of_their_index() -> None:
    """Any order, any process, any string hashing: the same texts and the same pixels."""
    script = (
        "import hashlib, importlib\n"
        "for task in {tasks}:\n"
        "    item = importlib.import_module('kosmos_eval.data.mini.' + task).sample('train', {index})\n"
        "    image = item.panels[0] if task == 'raven_iq' else item.image\n"
        "    texts = [item.content, item.rationale, *(getattr(item, n, '') for n in ('answers', 'captions'))]\n"
        "    print(hashlib.blake2b(repr(texts).encode() + image.tobytes()).hexdigest())\n"
    )
    hashes = []
    for seed in ("1", "2"):
        code = script.format(tasks=mini.MINI_TASKS, index=1234)
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(mini.__file__).parents[3])}
        hashes.append(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout)
    assert hashes[0] == hashes[1]
    assert len(hashes[0].split()) == len(MODULES)


def test_train_and_eval_never_share_an_item(memes: Any, opinions: Any) -> None:
    """Neither the thousand demonstrations, nor the fresh items training draws beyond them, nor across scene tasks."""
    seen: dict[str, dict[str, set[str]]] = {}
    for task, module in MODULES.items():
        known = {"hateful_memes": memes, "rendered_sst2": opinions}.get(task)
        train, evaluation = known or (items(module, TRAIN, 600), items(module, EVAL, EVAL_COUNT))
        fresh = items(module, TRAIN, 200, start=50_000)
        seen[task] = {TRAIN: {i.content for i in [*train, *fresh]}, EVAL: {i.content for i in evaluation}}
        assert all(belongs_to_eval(content) for content in seen[task][EVAL])
        assert not any(belongs_to_eval(content) for content in seen[task][TRAIN])
        assert len(seen[task][EVAL]) > (200 if task == "vqav2" else 400)
    scenes = ("vqav2", "flickr30k", "vizwiz")
    assert not set().union(*(seen[t][TRAIN] for t in scenes)) & set().union(*(seen[t][EVAL] for t in scenes))


def test_official_layouts(small: dict[str, Layout]) -> None:
    root = {task: layout.folder for task, layout in small.items()}
    sst2 = root["rendered_sst2"]
    for split in ("train", "test"):
        rows = load_lines(sst2 / split / "rationales.jsonl")
        assert {r["file"] for r in rows} == {str(p.relative_to(sst2 / split)) for p in (sst2 / split).glob("*/*.png")}
        assert len(list((sst2 / split / "positive").iterdir())) == 10
    for name in ("train", "dev_seen"):
        for row in load_lines(root["hateful_memes"] / f"{name}.jsonl"):
            assert row["img"] == f"img/{row['id']:05d}.png"
            assert (root["hateful_memes"] / row["img"]).is_file()
    for name in ("train2014", "val2014"):
        asked = load(root["vqav2"] / f"v2_OpenEnded_mscoco_{name}_questions.json")["questions"]
        noted = load(root["vqav2"] / f"v2_mscoco_{name}_annotations.json")["annotations"]
        assert [q["question_id"] for q in asked] == [a["question_id"] for a in noted]
        assert all((root["vqav2"] / name / f"COCO_{name}_{q['image_id']:012d}.jpg").is_file() for q in asked)
        assert all([a["answer_id"] for a in n["answers"]] == list(range(1, 11)) for n in noted)
    karpathy = load(root["flickr30k"] / "dataset_flickr30k.json")["images"]
    assert Counter(i["split"] for i in karpathy) == {"train": 20, "test": 20}
    assert all((root["flickr30k"] / "flickr30k-images" / i["filename"]).is_file() for i in karpathy)
    assert sorted(s["sentid"] for i in karpathy for s in i["sentences"]) == list(range(200))
    for name in ("train", "val"):
        records = load(root["vizwiz"] / f"{name}.json")
        assert all((root["vizwiz"] / name / r["image"]).is_file() and len(r["answers"]) == 10 for r in records)
        labels = load(root["raven_iq"] / {"val": "test"}.get(name, name) / "labels.json")
        for folder, letter in labels.items():
            files = sorted(p.stem for p in (root["raven_iq"] / {"val": "test"}.get(name, name) / folder).iterdir())
            assert files[:6] == [f"answer-{x}" for x in "abcdef"]
            assert len(files) - 6 in ({3} if name == "train" else {3, 8})
            assert letter in "abcdef"


def test_the_cache_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(layout: Layout) -> dict[str, int]:
        layout.json("half.json", [])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(vqav2, "write", fail)
        with pytest.raises(DataError, match="No space left"):
            mini.ensure_mini("vqav2", tmp_path)
    suite = tmp_path / f"mini-v{mini.MINI_VERSION}"
    assert not list(suite.iterdir())
    monkeypatch.setenv("KOSMOS_EVAL_CACHE", str(tmp_path))
    folder = mini.ensure_mini("vqav2")
    marker = load(folder / mini.MARKER)
    assert marker["frozen"]
    assert marker["counts"] == {"train2014": 1000, "val2014": 500}
    before = (folder / mini.MARKER).stat().st_mtime_ns
    assert mini.ensure_mini("vqav2", tmp_path) == folder
    assert (folder / mini.MARKER).stat().st_mtime_ns == before
    (suite / "flickr30k").mkdir()
    with pytest.raises(DataError, match="not whole"):
        mini.ensure_mini("flickr30k", tmp_path)
    with pytest.raises(DataError, match="did you mean 'vizwiz'"):
        mini.ensure_mini("vizwizz", tmp_path)


def test_several_are_made_side_by_side_as_they_are_alone(tmp_path: Path) -> None:
    mini.ensure_several(["vqav2", "flickr30k"], tmp_path)
    for task in ("vqav2", "flickr30k"):
        folder = tmp_path / f"mini-v{mini.MINI_VERSION}" / task
        assert load(folder / mini.MARKER)["frozen"]
        assert mini.ensure_mini(task, tmp_path) == folder
    with pytest.raises(DataError, match="no task 'vizwizz'"):
        mini.ensure_several(["vizwizz", "vizwiz"], tmp_path)


# ---- no short cuts ----


def test_opinions_need_more_than_their_words(opinions: Any) -> None:
    train, test = opinions
    assert Counter(item.label for item in test) == {"positive": 250, "negative": 250}
    assert all(20 <= len(item.rationale) <= 180 for item in [*train, *test])
    score = bag_of_words([i.rationale for i in train], [i.label for i in train],
                         [i.rationale for i in test], [i.label for i in test])
    assert 60 < score < 88


def test_memes_need_both_picture_and_text(memes: Any) -> None:
    train, test = memes
    assert Counter((i.nice, i.stance) for i in test).most_common()[-1][1] >= 120
    assert {i.kind for i in test} == {*hateful_memes.NICE, *hateful_memes.NASTY}
    labels, targets = [i.label for i in train], [i.label for i in test]
    assert abs(bag_of_words([i.text for i in train], labels, [i.text for i in test], targets) - 50) < 8
    by_kind = {kind: Counter(i.label for i in train if i.kind == kind) for kind in {i.kind for i in train}}
    kind_score = np.mean([by_kind[i.kind].most_common(1)[0][0] == i.label for i in test])
    assert abs(kind_score - 0.5) < 0.08
    stances = [i.stance for i in train]
    assert bag_of_words([i.text for i in train], stances, [i.text for i in test], [i.stance for i in test]) > 95
    assert all(i.label == int(i.nice == (i.stance == "unlike")) for i in test)


def test_questions_are_not_answered_by_a_constant() -> None:
    train, test = items(vqav2, TRAIN, TRAIN_COUNT), items(vqav2, EVAL, EVAL_COUNT)
    common = [answer for answer, _ in Counter(i.answer for i in test).most_common(10)]
    assert max(mean_score(test, lambda _, a=answer: a) for answer in common) < 35
    by_type = {t: Counter(i.answer for i in train if i.question_type == t) for t in {i.question_type for i in train}}
    assert mean_score(test, lambda item: by_type[item.question_type].most_common(1)[0][0]) < 45
    assert mean_score(test, lambda item: item.answer) > 99
    assert any(len({a for a, _ in item.answers}) > 1 for item in test)
    assert not {i.image_id for i in train} & {i.image_id for i in test}
    assert len({i.question_id for i in [*train, *test]}) == TRAIN_COUNT + EVAL_COUNT
    assert len({c for i in test for c in (o.colour for o in i.objects)}) >= 8
    assert len({s for i in test for s in (o.shape for o in i.objects)}) >= 6


def test_captions_come_from_many_templates() -> None:
    assert captions.TEMPLATE_COUNT >= 200
    rng = random.Random(1)
    scene = random_scene(rng, 3, 3)
    assert len({captions.random_caption(rng, scene) for _ in range(3000)}) >= 200
    assert all(len(set(i.captions)) == 5 for i in items(flickr30k, EVAL, 50))


def test_photos_that_cannot_be_read_are_two_in_five_and_hide_everything() -> None:
    test = items(vizwiz, EVAL, EVAL_COUNT)
    unreadable = [i for i in test if not i.answerable]
    assert 0.35 <= len(unreadable) / len(test) <= 0.45
    assert all(sum(a == "unanswerable" for a, _ in i.answers) >= 7 for i in unreadable)
    assert all(i.objects == () for i in unreadable)
    for item in unreadable:  # averaged over 16x16 pixels, nothing stands out of the ground
        means = np.asarray(item.image.convert("L"), dtype=float).reshape(14, 16, 14, 16).mean((1, 3))
        assert np.abs(means - np.median(means)).max() < 20
    for item in test:
        if item.answerable and item.flaw in ("none", "rotated", "cropped"):
            assert item.objects
            for thing in item.objects:
                if thing.shape != "ring":
                    pixel = item.image.getpixel((round(thing.cx), round(thing.cy)))
                    assert np.abs(np.subtract(pixel, COLOURS[thing.colour])).max() < 12
    assert 40 < mean_score(test, lambda _: "unanswerable") < 55


# ---- matrices ----


def solve(matrix: Matrix | Any) -> tuple[int, ...]:
    """An independent solver: it sees the panels alone, and reads each attribute's rule off the first rows."""
    side, panels = matrix.side, [*matrix.panels, None]
    rows = [panels[start : start + side] for start in range(0, side * side, side)]
    answer = []
    for attribute in range(len(ATTRIBUTES)):
        whole = [[panel[attribute] for panel in row] for row in rows[:-1]]
        part = [panel[attribute] for panel in rows[-1][:-1]]
        step = whole[0][1] - whole[0][0]
        if all(b - a == step for row in whole for a, b in itertools.pairwise(row)):
            answer.append(part[-1] + step)
        else:
            answer.extend(set(whole[0]) - set(part))
    return tuple(answer)


@given(st.integers(0, 2**32), st.sampled_from([2, 3]))
@settings(max_examples=300, deadline=None)
def test_every_matrix_has_one_right_candidate(seed: int, side: int) -> None:
    matrix = random_matrix(random.Random(seed), side)
    assert len(matrix.panels) == side * side - 1
    assert len(set(matrix.candidates)) == 6
    assert solve(matrix) == matrix.answer
    assert any(rule != CONSTANT for rule in matrix.rules)
    assert side == 3 or set(matrix.rules) <= {CONSTANT, PROGRESSION}
    assert all(0 <= v < len(vs) for p in matrix.candidates for v, vs in zip(p, ATTRIBUTES.values(), strict=True))


def candidate_features(candidates: Sequence[Sequence[int]]) -> np.ndarray:
    """What a chooser may see of each candidate: its values, and how many of the six share each of them."""
    rows = []
    for panel in candidates:
        values = [float(v == k) for v, vs in zip(panel, ATTRIBUTES.values(), strict=True) for k in range(len(vs))]
        shared = [sum(other[a] == v for other in candidates) for a, v in enumerate(panel)]
        extreme = [sum(other[a] < v for other in candidates) for a, v in enumerate(panel)]
        rows.append([*values, *shared, *extreme, float(np.prod(shared))])
    return np.array(rows)


def test_the_candidates_alone_tell_nothing() -> None:
    """Over many matrices, neither the most ordinary candidate nor a trained chooser beats one in six."""
    rng = random.Random(5)
    matrices = [random_matrix(rng, 2 + k % 2) for k in range(6000)]
    features = [candidate_features(m.candidates) for m in matrices]
    targets = [m.target for m in matrices]
    half = len(matrices) // 2
    shared = slice(-9, -5)
    ordinary = [int(np.argmax(f[:, shared].sum(1) + 1e-6 * np.arange(6))) for f in features]
    learned = LogisticRegression(max_iter=300).fit(
        np.vstack(features[:half]), np.concatenate([np.arange(6) == t for t in targets[:half]])
    )
    chosen = [int(np.argmax(learned.decision_function(f))) for f in features[half:]]
    limit = 1 / 6 + 4 * (5 / 36 / half) ** 0.5
    assert np.mean([c == t for c, t in zip(ordinary, targets, strict=True)]) < limit
    assert np.mean([c == t for c, t in zip(chosen, targets[half:], strict=True)]) < limit


def test_matrices_of_the_suite() -> None:
    test = items(raven_iq, EVAL, EVAL_COUNT)
    assert Counter(i.side for i in test) == {2: 250, 3: 250}
    assert {raven_iq.side_of(TRAIN, i) for i in range(TRAIN_COUNT)} == {2}
    assert {raven_iq.side_of(TRAIN, i) for i in range(TRAIN_COUNT, TRAIN_COUNT + 50)} == {2, 3}
    assert max(Counter(i.target for i in test).values()) < 0.24 * EVAL_COUNT
    panels: dict[bytes, set[Any]] = {}
    for item in test:
        for image, truth in zip(item.candidates, item.candidate_truth, strict=True):
            panels.setdefault(hashlib.md5(image.tobytes()).digest(), set()).add(truth)
    assert all(len(truths) == 1 for truths in panels.values()), "two different panels look the same"
