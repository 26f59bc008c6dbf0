"""Readers: what they make of each official layout."""

from __future__ import annotations

import json
from pathlib import Path

import builders
import pytest
from builders import LAYOUTS, Layout
from reading import by_name, everything, opened

from kosmos_eval.data import images
from kosmos_eval.data.check import check
from kosmos_eval.errors import DataError, UsageError
from kosmos_eval.plugins import task_class


@by_name
def test_reads(layout: Layout, tmp_path: Path) -> None:
    samples = everything(layout, layout.build(tmp_path))
    assert len(samples) == builders.EVAL
    for sample in samples:
        assert len(sample.images) == layout.images_per_sample
        assert sample.answer.startswith(" ")
        assert sample.target is not None
    pool, same_split = opened(layout, tmp_path).demonstration_pool()
    assert (len(pool), same_split) == (builders.TRAIN, False)
    assert not {s.images for s in pool} & {s.images for s in samples}
    assert opened(layout, tmp_path).split == task_class(layout.task)(tmp_path).split


@by_name
def test_check_finds_all_there(layout: Layout, tmp_path: Path) -> None:
    looked: list[tuple[str, int, int]] = []
    report = check(task_class(layout.task), layout.build(tmp_path), progress=lambda *a: looked.append(a))
    split = next(s for s in report.splits if s.split == layout.split)
    assert report.usable
    assert (split.samples, split.unreadable) == (builders.EVAL, ())
    assert (split.split, split.images, split.images) in looked
    assert layout.split not in report.missing


def test_sample_ids(tmp_path: Path) -> None:
    ids = {lay.name: everything(lay, lay.build(tmp_path / lay.name))[0].id for lay in LAYOUTS}
    assert ids == {
        "rendered_sst2": "negative/0000.png", "hateful_memes": "10", "vqav2": "10000",
        "vizwiz": "VizWiz_val_00000000.jpg", "vizwiz_pairs": "VizWiz_val_00000000.jpg",
        "flickr30k": "1006.jpg", "flickr30k_tokens": "1006.jpg", "coco_captions": "10", "coco_karpathy": "6",
        "raven_iq50": "exp-1", "raven_npz": "center_single/RAVEN_6_test", "raven_index": "center_single/RAVEN_6_test",
    }  # fmt: skip


def test_vqa_sample(tmp_path: Path) -> None:
    sample = task_class("vqav2")(builders.vqav2(tmp_path)).samples[0]
    assert sample.target == builders.ANSWERS
    assert (sample.answer, sample.group, sample.label) == (" red", "other", None)
    assert sample.fields["first_answer"] == "red"
    assert sample.images[0].name == "val2014/COCO_val2014_000000000010.jpg"


def test_vizwiz_sample(tmp_path: Path) -> None:
    listed = task_class("vizwiz")(builders.vizwiz(tmp_path / "list")).samples[0]
    paired = task_class("vizwiz")(builders.vizwiz_pairs(tmp_path / "pairs")).samples[0]
    assert listed.fields["question"] == "what is 0?"  # inner and outer blanks go
    assert listed.fields["answerable"] is True
    assert (listed.target, listed.answer, listed.group) == (paired.target, paired.answer, paired.group)
    assert paired.fields["question_id"] == "0"


def test_rationales_become_fields(tmp_path: Path) -> None:
    assert (
        task_class("rendered_sst2")(builders.rendered_sst2(tmp_path / "a")).samples[0].fields["rationale"]
        == "opinion 0"
    )
    folder = builders.vqav2(tmp_path / "b")
    builders.write_json(folder / "rationales.json", {"10000": "there is a thing."})
    first, second = task_class("vqav2")(folder).samples[:2]
    assert first.fields["rationale"] == "there is a thing."
    assert "rationale" not in second.fields


def test_subset_names_and_single_split(tmp_path: Path) -> None:
    folder = builders.vqav2(tmp_path)
    for path in folder.glob("*val2014*.json"):
        path.unlink()
    for path in list(folder.glob("*.json")):
        path.rename(path.with_suffix(".subset.json"))
    task = task_class("vqav2")(folder)
    assert task.split == "train2014"
    assert task.demonstration_pool()[1] is True
    (folder / "v2_mscoco_train2014_annotations.other.json").write_text("{}")
    with pytest.raises(DataError, match=r"which is meant.*other\.json"):
        task_class("vqav2")(folder).samples  # noqa: B018


def test_unanswered_splits_are_read_but_not_scored(tmp_path: Path) -> None:
    folder = builders.vqav2(tmp_path)
    questions = folder / "v2_OpenEnded_mscoco_val2014_questions.json"
    (folder / "v2_OpenEnded_mscoco_test-dev2015_questions.json").write_bytes(questions.read_bytes())
    task = task_class("vqav2")(folder, "test-dev2015")
    assert task.samples[0].target is None
    assert task.samples[0].images[0].name == "test2015/COCO_test2015_000000000010.jpg"
    (folder / "v2_OpenEnded_mscoco_train2014_questions.json").unlink()
    with pytest.raises(DataError, match="'10000' of split 'test-dev2015' of vqav2 has no published answer"):
        task.demonstration_pool()
    report = check(task_class("vqav2"), folder, decode=False)
    assert next(s for s in report.splits if s.split == "test-dev2015").unanswered == builders.EVAL


def test_unlabelled_meme_test_split(tmp_path: Path) -> None:
    folder = builders.hateful_memes(tmp_path)
    rows = [json.loads(line) for line in (folder / "dev_seen.jsonl").read_text().splitlines()]
    builders.write_jsonl(folder / "test_seen.jsonl", [{k: v for k, v in row.items() if k != "label"} for row in rows])
    assert all(s.target is None for s in task_class("hateful_memes")(folder, "test_seen").samples)
    builders.write_jsonl(folder / "test_unseen.jsonl", [rows[0], {**rows[1], "label": None}])
    with pytest.raises(DataError, match=r"test_unseen\.jsonl: line 2"):
        task_class("hateful_memes")(folder, "test_unseen").samples  # noqa: B018


def test_iq50_at_the_top_and_other_label_files(tmp_path: Path) -> None:
    top = builders.raven_iq50(tmp_path) / "test"
    (top / "labels.json").unlink()
    for name, text in (("labels.txt", "exp-1 b\n\nexp-2 C\nexp-3 d\nexp-4 e\n"),
                       ("labels.csv", "exp,answer\nexp-1,b\nexp-2,\"c\"\nexp-3, d\nexp-4,e\n")):  # fmt: skip
        (top / name).write_text(text)
        samples = task_class("raven_iq")(top).samples
        assert [s.target for s in samples] == ["b", "c", "d", "e"]
        assert samples[0].fields["number"] == "three"
        (top / name).unlink()


def test_npz_and_index_are_the_same_puzzles(tmp_path: Path) -> None:
    npz = task_class("raven_iq")(builders.raven_npz(tmp_path / "a")).samples
    png = task_class("raven_iq")(builders.raven_index(tmp_path / "b")).samples
    assert [(s.id, s.target) for s in npz] == [(s.id, s.target) for s in png]
    for a, b in zip(npz, png, strict=True):
        for x, y in zip([*a.images, *a.candidates.values()], [*b.images, *b.candidates.values()], strict=True):
            assert images.load(x).tobytes() == images.load(y).tobytes()


def test_unknown_split_and_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'val2014'"):
        task_class("vqav2")(builders.vqav2(tmp_path), "val2041").samples  # noqa: B018
    with pytest.raises(DataError, match="no such folder"):
        task_class("vqav2")(tmp_path / "nowhere")
