"""Data sets of the hub, from local copies with the hub's columns: the same samples as from the official files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders
import pytest

from kosmos_eval import DataError, ImageError, Task, UsageError, evaluate, load_image, load_task
from kosmos_eval.cell import Cell
from kosmos_eval.data import stream
from kosmos_eval.data.hub import hub_name
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.plugins import prompt_file
from kosmos_eval.report.prompts import Prompts, Sources
from kosmos_eval.report.runs import Run
from kosmos_eval.store import RunFolder
from kosmos_eval.task import data_fingerprint

datasets = pytest.importorskip("datasets", reason="hub data needs the extra `hub`")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

Rows = dict[str, list[dict[str, Any]]]


def _image(path: Path) -> dict[str, Any]:
    return {"bytes": path.read_bytes(), "path": path.name}


def vqav2_rows(folder: Path) -> Rows:
    questions = json.loads((folder / "v2_OpenEnded_mscoco_val2014_questions.json").read_text())["questions"]
    annotations = json.loads((folder / "v2_mscoco_val2014_annotations.json").read_text())["annotations"]
    rows = [
        {**q, **a, "image": _image(folder / f"val2014/COCO_val2014_{q['image_id']:012d}.jpg")}
        for q, a in zip(questions, annotations, strict=True)
    ]
    hidden = {"answers": None, "multiple_choice_answer": None, "question_type": None, "answer_type": None}
    return {"validation": rows, "testdev": [{**row, **hidden} for row in rows]}


def vizwiz_rows(folder: Path) -> Rows:
    rows = json.loads((folder / "val.json").read_text())
    return {
        "val": [
            {
                "question_id": row["image"], "image": _image(folder / "val" / row["image"]),
                "question": row["question"], "answers": [a["answer"] for a in row["answers"]],
                "category": row["answer_type"],
            }
            for row in rows
        ]
    }  # fmt: skip


def rendered_sst2_rows(folder: Path) -> Rows:
    return {
        name: [
            {"image": _image(path), "label": label}
            for label, sentiment in enumerate(("negative", "positive"))
            for path in sorted((folder / split / sentiment).iterdir())
        ]
        for name, split in (("train", "train"), ("test", "test"))
    }


def flickr30k_rows(folder: Path) -> Rows:
    images = json.loads((folder / "dataset_flickr30k.json").read_text())["images"]
    rows = [
        {
            "image": _image(folder / "flickr30k-images" / i["filename"]), "filename": i["filename"],
            "caption": [s["raw"] for s in i["sentences"]], "split": i["split"], "img_id": str(i["imgid"]),
        }
        for i in images
    ]  # fmt: skip
    return {"test": rows}


def hateful_memes_rows(folder: Path) -> Rows:
    records = [json.loads(line) for line in (folder / "dev_seen.jsonl").read_text().splitlines()]
    return {"dev_seen": [{**r, "image": _image(folder / r.pop("img"))} for r in records]}


MAKERS: dict[str, Callable[[Path], Rows]] = {
    "vqav2": vqav2_rows, "vizwiz": vizwiz_rows, "rendered_sst2": rendered_sst2_rows, "flickr30k": flickr30k_rows,
    "hateful_memes": hateful_memes_rows,
}  # fmt: skip


def hub_rows(rows: list[dict[str, Any]]) -> Any:
    made = datasets.Dataset.from_list(rows)
    return made.cast_column("image", datasets.Image()) if "image" in made.column_names else made


def parquet(folder: Path, rows: Rows) -> Path:
    for name, some in rows.items():
        (folder / "data").mkdir(parents=True, exist_ok=True)
        half = len(some) // 2  # two files, as large splits have many
        for number, part in enumerate((some[:half], some[half:])):
            hub_rows(part).to_parquet(str(folder / f"data/{name}-{number:05d}-of-00002.parquet"))
    return folder


def saved(folder: Path, rows: Rows) -> Path:
    datasets.DatasetDict({name: hub_rows(some) for name, some in rows.items()}).save_to_disk(
        str(folder), num_shards=dict.fromkeys(rows, 2)
    )
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")
    datasets.disable_progress_bars()


def plain(task: Task) -> list[Any]:
    """What may not differ between the hub and the official files; the hub has no file names of Rendered SST-2."""
    rows = []
    for s in task.samples:
        own = () if task.name == "rendered_sst2" else (s.id,)
        fields = {k: v for k, v in s.fields.items() if k not in ("rationale", "answerable")}
        rows.append((*own, fields, s.target, s.answer, s.label, s.group, load_image(s.images[0]).tobytes()))
    return rows


@pytest.mark.parametrize("store", [parquet, saved])
@pytest.mark.parametrize("name", MAKERS)
def test_the_samples_are_those_of_the_official_files(name: str, store: Any, tmp_path: Path) -> None:
    official = getattr(builders, name)(tmp_path / "official")
    folder = store(tmp_path / "hub", MAKERS[name](official))
    task = load_task(name, f"hub:{folder}")
    assert plain(task) == plain(load_task(name, official))
    assert task.data_label == "local"
    demos, same = task.demonstration_pool()
    assert same == (name not in ("rendered_sst2", "flickr30k"))  # the others have no train split on the hub
    assert len(demos) == (builders.EVAL if same else builders.TRAIN)


def test_a_label_that_is_not_published_is_no_label(tmp_path: Path) -> None:
    """Data sets write -1, which Python would take for the last name."""
    rows = rendered_sst2_rows(builders.rendered_sst2(tmp_path / "official"))["test"]
    made = hub_rows([{**row, "label": -1} for row in rows[:2]] + rows[2:])
    names = datasets.ClassLabel(names=["negative", "positive"])
    made.cast_column("label", names).to_parquet(str(tmp_path / "hub-test.parquet"))
    (tmp_path / "hub/data").mkdir(parents=True)
    (tmp_path / "hub-test.parquet").rename(tmp_path / "hub/data/test-00000-of-00001.parquet")
    task = load_task("rendered_sst2", f"hub:{tmp_path / 'hub'}")
    assert [s.target for s in task.samples] == [None, None, " positive", " positive"]


def test_no_demonstration_shows_the_photograph_that_is_asked_about(tmp_path: Path) -> None:
    rows = vqav2_rows(builders.vqav2(tmp_path / "official"))["validation"]
    again = [{**row, "question_id": row["question_id"] + 1} for row in rows]
    task = load_task("vqav2", f"hub:{parquet(tmp_path / 'hub', {'validation': rows + again})}")
    cell = Cell.of(task, prompt_file("vqav2"), "standard", shots=3)
    shown = {d.id: d.images for d in task.samples}
    for sample in task.samples:
        assert len(demos := cell.chooser.choose(sample)) == 3
        assert sample.images[0].name not in {shown[d.id][0].name for d in demos}


def test_hidden_answers_can_be_predicted_not_scored(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "hub", vqav2_rows(builders.vqav2(tmp_path / "official")))
    task = load_task("vqav2", f"hub:{folder}", split="test-dev2015")
    assert [s.target for s in task.samples] == [None] * builders.EVAL


def test_labels_mean_what_the_data_set_says(tmp_path: Path) -> None:
    rows = rendered_sst2_rows(builders.rendered_sst2(tmp_path / "official"))["test"]
    made = hub_rows(rows).cast_column("label", datasets.ClassLabel(names=["positive", "negative"]))
    datasets.DatasetDict({"test": made}).save_to_disk(str(tmp_path / "hub"))
    task = load_task("rendered_sst2", f"hub:{tmp_path / 'hub'}")
    assert [s.label for s in task.samples] == [("positive", "negative")[row["label"]] for row in rows]


def test_all_of_flickr30k_is_not_taken_for_karpathys_test_split(tmp_path: Path) -> None:
    row = flickr30k_rows(builders.flickr30k(tmp_path / "official"))["test"][0]
    del row["split"]
    folder = parquet(tmp_path / "hub", {"test": [{**row, "filename": f"{k}.jpg"} for k in range(1001)]})
    task = load_task("flickr30k", f"hub:{folder}")
    assert task.available_splits() == ["test"]
    with pytest.raises(DataError, match="1001 rows, the test of flickr30k only 1000"):
        task.samples  # noqa: B018


def test_rows_with_paths_only_say_so(tmp_path: Path) -> None:
    rows = hateful_memes_rows(builders.hateful_memes(tmp_path / "official"))["dev_seen"]
    elsewhere = {"bytes": None, "path": str(tmp_path / "official/img/00010.png")}  # is there, and still not opened
    paths = tmp_path / "paths/dev_seen.parquet"
    paths.parent.mkdir()
    pq.write_table(pa.Table.from_pylist([{**row, "image": elsewhere} for row in rows]), paths)
    with pytest.raises(ImageError, match="column 'image', row 0: holds no picture, only a path"):
        load_image(load_task("hateful_memes", f"hub:{paths.parent}").samples[0].images[0])
    bare = parquet(tmp_path / "bare", {"dev_seen": [{k: v for k, v in row.items() if k != "image"} for row in rows]})
    with pytest.raises(DataError, match="no column 'image'"):
        load_task("hateful_memes", f"hub:{bare}").samples  # noqa: B018


def test_a_download_that_was_stopped_is_no_smaller_split(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "hub", vizwiz_rows(builders.vizwiz(tmp_path / "official")))
    (folder / "data/val-00001-of-00002.parquet").unlink()
    with pytest.raises(DataError, match="1 more files of split 'val' should be there"):
        load_task("vizwiz", f"hub:{folder}").samples  # noqa: B018


def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'kosmos-eval\[hub\]'"):
        load_task("vizwiz", f"hub:{tmp_path}")


def test_a_broken_row_is_named(tmp_path: Path) -> None:
    rows = vqav2_rows(builders.vqav2(tmp_path / "official"))["validation"]
    rows[2]["answers"] = rows[2]["answers"][:9]
    with pytest.raises(DataError, match=r"validation-000002.*9 answers"):
        load_task("vqav2", f"hub:{parquet(tmp_path / 'hub', {'validation': rows})}").samples  # noqa: B018


@pytest.mark.parametrize(
    ("name", "words"),
    [("coco_captions", "by URL only"), ("raven_iq", "IQ50"), ("hateful_memes", "paths only")],
)
def test_tasks_without_hub_data_say_what_to_do(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=rf"{words}.*--data DIR"):
        load_task(name, "hub")


def test_a_cached_copy_is_enough(tmp_path: Path) -> None:
    """The whole way of `--data hub` without a network: the hub's cache, the revision in names and fingerprint."""
    rows = vqav2_rows(builders.vqav2(tmp_path / "official"))
    main, other = "a" * 40, "b" * 40
    repo = tmp_path / "cache/hub/datasets--lmms-lab--VQAv2"
    for commit in (main, other):
        parquet(repo / "snapshots" / commit, rows)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(main)
    code = (
        "import json; from kosmos_eval import evaluate, load_task; from kosmos_eval.models.fake import FakeModel\n"
        "from kosmos_eval.task import data_fingerprint as f\n"
        f"for data in ('hub', 'hub:lmms-lab/VQAv2@{other}'):\n"
        "    t = load_task('vqav2', data)\n"
        f"    kept = evaluate(FakeModel(), t, limit=2, out={str(tmp_path / 'out')!r}).manifest['data_path']\n"
        "    print(json.dumps([t.data_label, t.samples[1].images[0].name, f(t.samples), kept]))"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    photograph = rows["validation"][1]["image_id"]
    prints = {data_fingerprint(load_task("vqav2", f"hub:{parquet(tmp_path / 'hub', rows)}").samples)}
    for line, commit in zip(done.stdout.splitlines(), (main, other), strict=True):
        label, image, found, kept = json.loads(line)
        assert kept.endswith(f"datasets--lmms-lab--VQAv2/snapshots/{commit}")
        assert (label, image) == ("official-hub", f"lmms-lab/VQAv2@{commit}/validation/{photograph}")
        prints.add(found)
    assert len(prints) == 3


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"])
def test_offline_without_a_copy_says_what_to_do(tmp_path: Path, variable: str) -> None:
    environment = {**os.environ, "HF_HOME": str(tmp_path), variable: "1"}
    command = [sys.executable, "-m", "kosmos_eval.cli", "data", "check", "vizwiz", "--data", "hub"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert "Cannot find an appropriate cached snapshot" in done.stderr, "the network was tried"
    assert "hf download lmms-lab/VizWiz-VQA --repo-type dataset" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("store", [parquet, saved])
def test_the_report_makes_prompts_of_such_data_again(store: Any, tmp_path: Path) -> None:
    official = builders.vqav2(tmp_path / "official")
    task = load_task("vqav2", f"hub:{store(tmp_path / 'hub', vqav2_rows(official))}")
    path = evaluate(FakeModel(), task, shots=1, out=tmp_path / "out").path
    assert path is not None
    folder = RunFolder(path)
    prompts = Prompts(Run(path.name, folder, folder.manifest(), "fake", "local"), Sources())
    assert prompts.missing is None
    made = [prompts.of(record) for record in folder.each_record()]
    assert made
    assert all(rendered is not None and rendered.same for rendered in made)


def test_a_large_split_that_is_not_in_the_cache_is_read_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub is a folder here: fields are read of its files, and pictures as they are looked at; no file is copied."""
    from fsspec.implementations.dirfs import DirFileSystem

    opened: list[Any] = []

    class Hub(DirFileSystem):
        def open(self, path: str, *args: Any, **options: Any) -> Any:
            opened.append(super().open(path, *args, **options))
            return opened[-1]

    commit = "c" * 40
    rows = vqav2_rows(builders.vqav2(tmp_path / "official"))
    parquet(tmp_path / f"hub/datasets/lmms-lab/VQAv2@{commit}", rows)
    snapshot = tmp_path / "cache/datasets--lmms-lab--VQAv2/snapshots" / commit
    snapshot.mkdir(parents=True)
    monkeypatch.setattr("kosmos_eval.data.stream.filesystem", lambda: Hub(str(tmp_path / "hub")))
    monkeypatch.setattr("kosmos_eval.data.hub.snapshot", lambda *_: snapshot)
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", False)
    task = load_task("vqav2", "hub")
    assert task.data_label == "official-hub"
    fetched = data_fingerprint(task.samples)
    assert len(opened) == 2
    assert plain(task) == plain(load_task("vqav2", tmp_path / "official"))
    assert not list(snapshot.iterdir())
    (tmp_path / f"hub/datasets/lmms-lab/VQAv2@{commit}/data/validation-00001-of-00002.parquet").unlink()
    stream._file.cache_clear()
    stream._group.cache_clear()
    done = evaluate(FakeModel(check_images=True), task, out=tmp_path / "out")
    assert done.failed == builders.EVAL - builders.EVAL // 2
    assert "give the command again" in next(iter(done.errors.values()))
    parquet(snapshot, rows)  # downloaded: the same data
    monkeypatch.setattr("kosmos_eval.data.hub_files.snapshot", lambda *_: snapshot)
    assert data_fingerprint(load_task("vqav2", "hub").samples) == fetched
    assert len(opened) == 3


def test_a_snapshot_of_the_hub_is_known_by_its_folder(tmp_path: Path) -> None:
    assert hub_name(tmp_path / "datasets--a--b--c/snapshots/12ab") == "hub:a/b--c@12ab"
    assert hub_name(tmp_path) is None
