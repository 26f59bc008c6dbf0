"""Predictions files: the kinds that are read, and the many ways one can be wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos_eval.errors import DataError
from kosmos_eval.metrics import Accuracy, Captions, ConstantBaseline, RocAuc, Unanswerable, VqaAccuracy
from kosmos_eval.request import Choice
from kosmos_eval.score import match_predictions, read_predictions, reference_corpus, score_file

SHARED = Path(os.environ.get("KOSMOS_EVAL_SHARED", Path(__file__).parents[2] / "shared"))
needs_shared = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason=f"no shared data at {SHARED}")


@dataclass(frozen=True)
class FakeSample:
    id: str
    target: Any = None
    group: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    candidates: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()


def write(folder: Path, content: str | bytes, name: str = "predictions.json") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        '[{"question_id": 1, "answer": "yes"}, {"question_id": 2, "answer": ""}]',
        '[{"image_id": 1, "caption": "yes"}, {"image_id": 2, "caption": ""}]',
        '[{"image": "1", "answer": "yes"}, {"image": "2", "answer": ""}]',
        '{"id": "1", "prediction": "yes"}\n{"id": 2, "prediction": ""}',
        '\ufeff\n{"id": "1", "prediction": "yes"}\r\n\r\n{"id": "2", "prediction": ""}\n',
        '[{"image_id": 9, "question_id": 1, "answer": "yes"}, {"image_id": 9, "question_id": 2, "answer": ""}]',
    ],
)
def test_kinds_of_files(tmp_path: Path, content: str) -> None:
    found = read_predictions(write(tmp_path, content))
    assert {key: raw.text for key, raw in found.items()} == {"1": "yes", "2": ""}
    assert all(raw.scores is None for raw in found.values())


def test_scores(tmp_path: Path) -> None:
    path = write(tmp_path, '{"id": "a", "scores": {" yes": -1, " no": -2.5}}\n{"id": "b\u2028", "scores": {"x": 1e-9}}')
    found = read_predictions(path)
    assert found["a"].scores == {" yes": -1.0, " no": -2.5}
    assert found["a"].text is None
    assert found["b\u2028"].origin == f"{path}: line 2"


DEEP = "[" * 100_000
BROKEN: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "holds no predictions"),
    "blank lines": ("\n \n", "holds no predictions"),
    "empty list": ("[]", "holds no predictions"),
    "truncated list": ('[{"question_id": 1, "answer": "yes"}, {"quest', "not JSON"),
    "truncated line": ('{"id": 1, "prediction": "a"}\n{"id": 2, "pre', "line 2: not JSON"),
    "rubbish": ("question_id,answer\n1,yes", "line 1: not JSON"),
    "latin-1": (
        '{"id": 1, "prediction": "a"}\n{"id": 2, "prediction": "caf\xe9"}'.encode("latin-1"),
        "line 2: not UTF-8",
    ),
    "utf-16": ('[{"id": 1, "prediction": "a"}]'.encode("utf-16"), "not UTF-8"),
    "deep list": (DEEP, "nested too deeply"),
    "deep record": ('{"id": 1, "prediction": ' + DEEP, "nested too deeply"),
    "list of texts": ('["yes"]', "record 1: a text"),
    "list of lists": ("[[1]]", "record 1: a list"),
    "null record": ("[null]", "record 1: null"),
    "number line": ("3", "line 1: a number"),
    "wrapped": ('{"annotations": []}', "line 1: has no id"),
    "no id": ('[{"answer": "yes"}]', "record 1: has no id"),
    "no prediction": ('[{"question_id": 1}]', "record 1: has no prediction"),
    "two predictions": ('[{"id": 1, "answer": "a", "caption": "b"}]', "both 'answer' and 'caption'"),
    "null id": ('[{"id": null, "answer": "a"}]', "'id' is null"),
    "boolean id": ('[{"id": true, "answer": "a"}]', "'id' is true or false"),
    "fractional id": ('[{"id": 1.0, "answer": "a"}]', "'id' is a number"),
    "empty id": ('[{"id": "", "answer": "a"}]', "'id' is empty"),
    "list id": ('[{"id": [1], "answer": "a"}]', "'id' is a list"),
    "doubled id": ('[{"id": 1, "answer": "a"}, {"id": "1", "answer": "b"}]', "record 2: id '1' was there before"),
    "doubled key": ('[{"id": 1, "id": 2, "answer": "a"}]', "'id' is there twice"),
    "null text": ('[{"id": 1, "answer": null}]', "'answer' is null"),
    "number text": ('[{"id": 1, "answer": 3}]', "'answer' is a number"),
    "boolean text": ('[{"id": 1, "answer": false}]', "'answer' is true or false"),
    "huge text": (json.dumps([{"id": 1, "answer": "x" * 200_000}]), "200000 characters"),
    "half a character": ('[{"id": 1, "answer": "\\ud800"}]', "surrogate"),
    "huge integer": ('[{"id": ' + "9" * 5000 + ', "answer": "a"}]', "not usable JSON"),
    "scores a list": ('{"id": 1, "scores": [1, 2]}', "'scores' is a list"),
    "no scores": ('{"id": 1, "scores": {}}', "'scores' is empty"),
    "null score": ('{"id": 1, "scores": {" yes": null}}', "' yes' is null"),
    "text score": ('{"id": 1, "scores": {" yes": "-1"}}', "' yes' is a text"),
    "boolean score": ('{"id": 1, "scores": {" yes": true}}', "' yes' is true or false"),
    "NaN score": ('{"id": 1, "scores": {" yes": NaN}}', "not finite"),
    "infinite score": ('{"id": 1, "scores": {" yes": -Infinity}}', "not finite"),
    "overflowing score": ('{"id": 1, "scores": {" yes": 1e999}}', "not finite"),
    "overflowing integer": ('{"id": 1, "scores": {" yes": -1' + "0" * 400 + "}}", "not finite"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    content, message = BROKEN[name]
    path = write(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path, Path("/dev/null"), Path("a\0b")):
        with pytest.raises(DataError):
            read_predictions(path)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_give_predictions_or_a_data_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp(), content, "any.json")
    try:
        read_predictions(path)
    except DataError as error:
        complaint = str(error)
    else:
        return
    assert complaint.startswith(str(path))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["id", "question_id", "answer", "caption", "scores", "x"]), json_values))
def test_any_record_gives_a_prediction_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, record: dict[str, Any]
) -> None:
    path = write(tmp_path_factory.getbasetemp(), json.dumps([record]), "record.json")
    try:
        (raw,) = read_predictions(path).values()
    except DataError as error:
        complaint = str(error)
    else:
        assert raw.text is not None or raw.scores
        return
    assert "record 1" in complaint


SAMPLES = [FakeSample(str(i), target=[f"answer {i}"] * 10, group="other") for i in range(8)]


def records(ids: list[int], key: str = "question_id") -> str:
    return json.dumps([{key: i, "answer": f"answer {i}"} for i in ids])


def test_matching(tmp_path: Path) -> None:
    found = match_predictions(SAMPLES, read_predictions(write(tmp_path, records([*range(8)][::-1]))))
    assert [prediction.sample_id for prediction in found] == [sample.id for sample in SAMPLES]
    assert [prediction.text for prediction in found] == [f"answer {i}" for i in range(8)]
    assert found[3].group == "other"


def test_missing_and_extra(tmp_path: Path) -> None:
    missing = write(tmp_path, records([0]))
    with pytest.raises(DataError, match=r"predictions\.json: 7 of 8 samples.*'1', '2', '3', '4', '5' and 2 more"):
        match_predictions(SAMPLES, read_predictions(missing))
    assert len(match_predictions(SAMPLES, read_predictions(missing), partial=True)) == 1
    extra = write(tmp_path, records([*range(8), 99]))
    with pytest.raises(DataError, match=r"predictions\.json: record 9: 1 of 9 predictions.*'99'"):
        match_predictions(SAMPLES, read_predictions(extra))
    assert len(match_predictions(SAMPLES, read_predictions(extra), partial=True)) == 8
    other = write(tmp_path, records([77]))
    for partial in (False, True):
        with pytest.raises(DataError, match=r"none of the 1 predictions.*'77'.*'0'"):
            match_predictions(SAMPLES, read_predictions(other), partial=partial)
    assert match_predictions(SAMPLES, {}, partial=True) == []


def test_ids_of_the_files_own_key(tmp_path: Path) -> None:
    samples = [FakeSample(f"VizWiz_val_{i:08d}.jpg", ["a"] * 10, fields={"question_id": i}) for i in range(3)]
    found = match_predictions(samples, read_predictions(write(tmp_path, records([0, 1, 2]))))
    assert [prediction.sample_id for prediction in found] == [sample.id for sample in samples]
    shared = [FakeSample(str(i), ["a"] * 10, fields={"image_id": 7}) for i in range(3)]
    with pytest.raises(DataError, match="none of the"):
        match_predictions(shared, read_predictions(write(tmp_path, records([7], "image_id"))), partial=True)


def test_score_file_of_scores(tmp_path: Path) -> None:
    lines = [{"id": str(i), "scores": {"yes": float(i), "no": 0.5}} for i in range(4)]
    path = write(tmp_path, "\n".join(map(json.dumps, lines)))
    samples = [FakeSample(str(i), " yes" if i > 1 else " no") for i in range(4)]
    auc, accuracy = score_file(samples, (RocAuc(positive=" yes"), Accuracy()), path)
    assert (auc.metric, auc.value, auc.primary) == ("roc_auc", 100.0, True)
    assert (accuracy.value, accuracy.primary) == (75.0, False)
    assert reference_corpus(samples) == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"scores": {"yes": 0.1}}, "'0' has scores of 'yes'; this task weighs 'no', 'yes'"),
        ({"scores": {"Yes": 0.1, "No": 0.5}}, "'Yes', 'No'"),
        ({"prediction": "Yes"}, "no prediction is one of 'no', 'yes'; it has such as 'Yes'"),
    ],
)
def test_answers_of_another_task_are_refused_not_scored_zero(tmp_path: Path, line: dict[str, Any], words: str) -> None:
    path = write(tmp_path, json.dumps({"id": "0", **line}))
    with pytest.raises(DataError, match=words):
        score_file([FakeSample("0", " yes")], (Accuracy(),), path, answers=(" no", " yes"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"scores": {"1": 0.1, "2": 0.5}}, "this task weighs '0', '1'"),  # counted from one
        ({"scores": {"it rained": 0.1, "it snowed": 0.5}}, "this task weighs '0', '1'"),
        ({"scores": {"0": 0.1}}, "this task weighs '0', '1'"),
        ({"scores": {"0": 0.1, "1": 0.2, " 1": 0.3}}, "this task weighs '0', '1'"),
        ({"prediction": "it snowed"}, "no prediction is one of '0', '1'"),
    ],
)
def test_a_samples_own_choices_are_the_ones_to_weigh(tmp_path: Path, line: dict[str, Any], words: str) -> None:
    own = {"choices": (Choice("0", " it rained"), Choice("1", " it snowed"))}
    path = write(tmp_path, json.dumps({"id": "0", **line}))
    for sample in (FakeSample("0", 1, **own), FakeSample("0", 1, candidates={"0": None, "1": None})):
        with pytest.raises(DataError, match=words):
            score_file([sample], (Accuracy(),), path)
    path = write(tmp_path, json.dumps({"id": "0", "scores": {"1": -0.1, "0": -0.5}}))
    assert score_file([FakeSample("0", 1, **own)], (Accuracy(),), path)[0].value == 100


def test_score_file_uses_the_whole_splits_references(tmp_path: Path) -> None:
    samples = [FakeSample(str(i), [f"a {c} dog", f"one {c} dog runs"]) for i, c in enumerate(["red", "blue", "grey"])]
    path = write(tmp_path, '[{"image_id": 1, "caption": "a blue dog"}]')
    scores = score_file(samples, (Captions(with_spice=False),), path, partial=True)
    assert scores[0].metric == "cider"
    assert scores[0].value is not None
    assert scores[0].n == 1


@needs_shared
@pytest.mark.parametrize("key", ["image", "question_id"])
def test_vizwiz_constant_through_a_file(tmp_path: Path, key: str) -> None:
    path = SHARED / "data" / "vizwiz" / "val_annotations_vqa_format.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["annotations"]
    samples = [
        FakeSample(
            row["image_id"],
            [a["answer"] for a in row["answers"]],
            row["question_type"],
            {"question_id": row["question_id"]},
        )
        for row in rows
    ]
    names = [row["image_id"] if key == "image" else row["question_id"] for row in rows]
    file = write(tmp_path, json.dumps([{key: name, "answer": "unanswerable"} for name in names]))
    scores = score_file(samples, (VqaAccuracy(), Unanswerable(), ConstantBaseline.unanswerable()), file)
    assert scores[0].value == pytest.approx(52.12, abs=0.005)
    assert scores[0].n == 4319
    assert scores[-1].value == scores[0].value
