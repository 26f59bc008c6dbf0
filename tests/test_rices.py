"""Demonstrations by the likeness of pictures: the index, what is chosen by it, and their orders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_data import TASKS_DIR, cell, colours
from PIL import Image as PILImage
from typer.testing import CliRunner

import kosmos_eval as ke
from kosmos_eval.cell import Cell
from kosmos_eval.cli import app
from kosmos_eval.data.images import load
from kosmos_eval.demos import permutation
from kosmos_eval.errors import DataError, StoreError, UsageError
from kosmos_eval.executor import InProcess
from kosmos_eval.models import model_for_run
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.models.lazy import LazyModel
from kosmos_eval.models.locate import bundled
from kosmos_eval.plugins import prompt_file
from kosmos_eval.prompt import Image
from kosmos_eval.retrieval import VectorCache, indexed
from kosmos_eval.rices import nearest_pictures, rounded
from kosmos_eval.run import CellFailure, complete, run
from kosmos_eval.scale.elsewhere import Elsewhere
from kosmos_eval.store import RunFolder
from kosmos_eval.tables import leaderboard
from kosmos_eval.task import Task

SHOTS = 3


@dataclass
class Seeing(FakeModel):
    """A scripted model with a vector for each picture: its pixels, turned by a random matrix."""

    turn: int = 0
    embedded: int = 0

    @property
    def info(self) -> dict[str, Any]:
        return {"device": "none", "dtype": "float32", "positions": None}

    def embed_images(self, images: Sequence[Image]) -> torch.Tensor:
        self.embedded += len(images)
        pixels = torch.stack([torch.from_numpy(np.asarray(load(i)).copy()).float().flatten() for i in images])
        matrix = torch.randn(pixels.shape[1], 8, generator=torch.Generator().manual_seed(self.turn))
        return torch.nn.functional.normalize((pixels - 128) @ matrix, dim=-1)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kosmos_eval.retrieval.cache_root", lambda: tmp_path / "cache")


def noise(folder: Path, counts: dict[str, int], same: dict[str, str] | None = None) -> Task:
    """The made-up task over pictures of noise; `same` gives pictures the content of others."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    for split, count in counts.items():
        rows = []
        for i in range(count):
            colour = "red" if i % 2 else "blue"
            PILImage.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).save(folder / f"{split}{i}.png")
            rows.append(
                {"id": f"{split}/{i}", "image": f"{split}{i}.png", "question": f"Which, {i}?", "colour": colour}
            )
        (folder / f"{split}.json").write_text(json.dumps(rows))
    for name, other in (same or {}).items():
        (folder / name).write_bytes((folder / other).read_bytes())
    return colours(folder)


def shown(done: Any) -> dict[str, tuple[str, ...]]:
    return {record.sample_id: record.demos for record in done.folder.records().values()}


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 12), st.integers(0, 9), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_neighbours_are_those_of_brute_force_cosine(queries: int, pool: int, width: int, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((queries + pool, width)).astype(np.float32)
    points[queries] = points[0]  # a picture that is in both
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    asked, there = rounded(units[:queries]), rounded(units[queries:])
    own = [0, *[-1] * (queries - 1)]
    found = list(nearest_pictures(asked, own, there, count))
    alone = [next(nearest_pictures(asked[i : i + 1], own[i : i + 1], there, count)) for i in range(queries)]
    for query in range(queries):
        assert found[query].tolist() == alone[query].tolist()  # whatever it is compared together with
        cosine = [float(np.dot(units[query].astype(float), u.astype(float))) for u in units[queries:]]
        left = [n for n in range(pool) if not (n == 0 and query == 0)]
        best = sorted(left, key=lambda n: (-round(cosine[n], 5), n))[:count]
        assert len(found[query]) == len(best) == len(set(found[query].tolist()))
        assert [cosine[n] for n in found[query]] == pytest.approx([cosine[n] for n in best], abs=2e-5)


def test_similarities_are_exact_sums() -> None:
    rng = np.random.default_rng(0)
    a, b = (rounded((v / np.linalg.norm(v)).astype(np.float32)) for v in rng.standard_normal((2, 1024)))
    forward = np.add.accumulate(a.astype(float) * b)[-1]
    backward = np.add.accumulate((a.astype(float) * b)[::-1])[-1]
    assert forward == backward == a.astype(float) @ b.astype(float)


def test_the_most_similar_stands_last_or_first_and_never_the_picture_itself(tmp_path: Path) -> None:
    task = noise(tmp_path / "data", {"train": 12, "test": 5}, {"train3.png": "test2.png", "train4.png": "train5.png"})
    model = Seeing()
    last = run(cell(task, shots=SHOTS, demos="rices"), model, tmp_path / "out")
    first = run(cell(task, shots=SHOTS, demos="rices-first"), model, tmp_path / "out")
    pool = {s.id: s for s in task.load("train")}
    vectors = {i: model.embed_images(s.images)[0] for i, s in pool.items()}
    for sample in task.samples:
        query = model.embed_images(sample.images)[0]
        likeness = {i: float(query @ v) for i, v in vectors.items() if not torch.equal(query, v)}
        best = sorted(likeness.values(), reverse=True)[:SHOTS]
        demos = shown(first)[sample.id]
        assert [likeness[i] for i in demos] == pytest.approx(best, abs=1e-5)
        assert shown(last)[sample.id] == demos[::-1]
    assert "train/3" not in shown(last)["test/2"]
    assert last.manifest.demonstrations is None
    assert last.folder.path.name.startswith("colours.standard.3shot.rices.seed0")


def test_what_is_shown_depends_on_no_batch_limit_order_or_company(tmp_path: Path) -> None:
    task = noise(tmp_path / "data", {"train": 20, "test": 9})
    cells = [cell(task, shots=k, demos="rices", limit=limit) for k in (1, SHOTS) for limit in (None, 4)]
    found = {}
    for out, model in (("a", Seeing()), ("b", Seeing(shuffle=3))):
        done = list(complete(cells, model, InProcess(model), tmp_path / out))
        assert not any(isinstance(one, CellFailure) for one in done)
        assert {one.cell for one in done} == set(cells)  # as they were given
        found[out] = {(one.cell.shots, one.cell.limit): shown(one) for one in done if not isinstance(one, CellFailure)}
    assert found["a"] == found["b"]
    whole = found["a"][SHOTS, None]
    assert all(whole[i] == demos for i, demos in found["a"][SHOTS, 4].items())
    assert all(whole[i][-1:] == demos for i, demos in found["a"][1, None].items())


def test_the_index_is_made_once_and_known_by_its_embedder_and_pool(tmp_path: Path) -> None:
    task = noise(tmp_path / "data", {"train": 6, "test": 3})
    one = cell(task, shots=1, demos="rices")
    model = Seeing()
    steps: list[tuple[int, int]] = []
    index = indexed(one, model, lambda done, total: steps.append((done, total)))
    assert steps == [(n, 9) for n in range(1, 10)]
    assert model.embedded == 9
    again = indexed(one, model, lambda *_: None)
    assert (again.fingerprint, again.pool) == (index.fingerprint, index.pool)
    assert all(index.nearest[image].tolist() == near.tolist() for image, near in again.nearest.items())
    assert indexed(replace(one, limit=1), model, lambda *_: None).fingerprint == index.fingerprint
    assert model.embedded == 9
    assert indexed(one, Seeing(fingerprint="another"), lambda *_: None).fingerprint != index.fingerprint
    (tmp_path / "data" / "train0.png").write_bytes((tmp_path / "data" / "train1.png").read_bytes())
    assert indexed(one, model, lambda *_: None).fingerprint != index.fingerprint
    assert model.embedded == 9  # that content was known
    path = VectorCache(model).path
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="remove it"):
        indexed(one, model, lambda *_: None)


def test_other_embedders_are_other_rows_and_other_runs(tmp_path: Path) -> None:
    task = noise(tmp_path / "data", {"train": 9, "test": 6})
    one = cell(task, shots=2, demos="rices")
    a, b = Seeing(), Seeing(name="other", fingerprint="07e4", turn=1)
    model = FakeModel()
    for seeing in (a, b):
        run(replace(one, index=indexed(one, seeing, lambda *_: None)), model, tmp_path / "out")
    frame = leaderboard(tmp_path / "out")
    primary = frame[frame["primary"]]
    assert sorted(primary["demos"]) == ["rices by fake", "rices by other"]


def test_a_broken_picture_of_a_query_fails_that_sample_and_one_of_the_pool_the_cell(tmp_path: Path) -> None:
    task = noise(tmp_path / "data", {"train": 9, "test": 6})
    (tmp_path / "data" / "test1.png").write_bytes(b"broken")
    done = run(cell(task, shots=2, demos="rices"), Seeing(check_images=True), tmp_path / "out")
    assert list(done.errors) == ["test/1"]
    (tmp_path / "data" / "train1.png").write_bytes(b"broken")
    both = [cell(task, shots=2, demos="rices"), cell(task, shots=0)]
    failed, fine = complete(both, Seeing(), InProcess(Seeing()), tmp_path / "out")
    assert isinstance(failed, CellFailure)
    assert isinstance(failed.error, DataError)
    assert "train1.png" in str(failed.error)
    assert not isinstance(fine, CellFailure)


@pytest.mark.parametrize(("demos", "says"), [
    ("ricess", "did you mean 'rices'"), ("fixed:clip:x", "after rices"), ("rices:", "after rices"),
])  # fmt: skip
def test_samplers_that_cannot_be(tmp_path: Path, demos: str, says: str) -> None:
    task = noise(tmp_path / "data", {"train": 3, "test": 1})
    with pytest.raises(UsageError, match=says):
        cell(task, shots=1, demos=demos)


def test_models_without_eyes_and_tasks_of_several_pictures_are_refused(tmp_path: Path) -> None:
    task = noise(tmp_path / "data", {"train": 3, "test": 1})
    model = FakeModel()
    (failed,) = complete([cell(task, shots=1, demos="rices")], model, InProcess(model), tmp_path / "out")
    assert isinstance(failed, CellFailure)
    assert "no vision tower" in str(failed.error)
    raven = ke.load_task("raven_iq")
    with pytest.raises(UsageError, match="raven_iq: --demos rices compares one picture with one"):
        Cell.of(raven, prompt_file("raven_iq"), "standard", shots=1, demos="rices")


@pytest.mark.skipif(not (bundled("kosmos-mini") / "config.json").is_file(), reason="no bundled checkpoint")
def test_the_driver_of_other_workers_makes_the_index_itself() -> None:
    picture = Image.of(PILImage.effect_noise((32, 32), 80).convert("RGB"))
    own = model_for_run("kosmos-mini", "cpu", "float32")
    found = Elsewhere(own, "processes").embed_images([picture])
    assert torch.equal(found, own.embed_images([picture]))  # type: ignore[attr-defined]
    absent = LazyModel(own.checkpoint, lambda *_: own, lambda _: "", "cuda:7", "float32")  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="cuda:7"):
        Elsewhere(absent, "ray").embed_images([picture])
    with pytest.raises(UsageError, match="no vision tower"):
        Elsewhere(FakeModel(), "ray").embed_images([picture])


@pytest.mark.parametrize("engine", ["local", *(pytest.param(e, marks=pytest.mark.slow) for e in ("processes", "ray"))])
def test_clip_chooses_them_whoever_answers(tmp_path: Path, engine: str) -> None:
    """Demonstrations are those of transformers' own CLIP features, whatever engine the run has."""
    tiny_models.clip(tmp_path / "clip")
    noise(tmp_path / "data", {"train": 9, "test": 5}, {"train3.png": "test2.png"})
    asked = ["run", "colours", "--data", str(tmp_path / "data"), "--tasks-dir", str(TASKS_DIR), "--model", "fake"]
    asked += ["--shots", str(SHOTS), "--demos", f"rices:clip:{tmp_path / 'clip'}"]
    asked += ["--engine", engine, *(["--workers", "2"] if engine != "local" else []), "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 0, told.output
    (manifest,) = (tmp_path / "out").glob("*/*/run.json")
    found = {r.sample_id: r.demos for r in RunFolder(manifest.parent).records().values()}
    assert set(leaderboard(tmp_path / "out")["demos"]) == {"rices by clip:clip"}
    vectors = clip_vectors(tmp_path / "clip", sorted((tmp_path / "data").glob("*.png")))
    for sample, demos in found.items():
        query = vectors[sample.replace("/", "")]
        likeness = {name: float(query @ v) for name, v in vectors.items() if name.startswith("train")}
        likeness = {name: cosine for name, cosine in likeness.items() if cosine < 1 - 1e-5}  # not the picture itself
        best = sorted(likeness, key=lambda name: likeness[name])[-SHOTS:]
        assert [name.replace("/", "") for name in demos] == best


def clip_vectors(folder: Path, pictures: Sequence[Path]) -> dict[str, torch.Tensor]:
    from transformers import AutoProcessor, CLIPModel

    processor, model = AutoProcessor.from_pretrained(folder), CLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        pixels = processor(images=[PILImage.open(picture) for picture in pictures], return_tensors="pt")
        found = torch.nn.functional.normalize(model.get_image_features(**pixels).pooler_output, dim=-1)
    return {picture.stem: vector for picture, vector in zip(pictures, found, strict=True)}


@given(st.integers(2, 6), st.integers(0, 5), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_orders_are_distinct_and_the_first_is_as_chosen(shots: int, last: int, seed: int) -> None:
    last = min(last, 1) if shots == 2 else last
    found = [permutation(shots, order, seed) for order in range(last + 1)]
    assert found[0] == tuple(range(shots))
    assert len(set(found)) == len(found)
    assert all(sorted(places) == list(range(shots)) for places in found)


@pytest.mark.parametrize("demos", ["fixed", "random", "rices"])
def test_orders_show_the_same_demonstrations_and_are_one_row_with_their_spread(tmp_path: Path, demos: str) -> None:
    task = noise(tmp_path / "data", {"train": 9, "test": 8})
    cells = [order for seed in (0, 1) for order in cell(task, shots=SHOTS, demos=demos, seed=seed).in_orders(4)]
    model = Seeing()
    done = [
        one for one in complete(cells, model, InProcess(model), tmp_path / "out") if not isinstance(one, CellFailure)
    ]
    assert len({one.folder.path for one in done}) == 8
    by_seed = [[shown(one) for one in done if one.cell.seed == seed] for seed in (0, 1)]
    for orders in by_seed:
        for sample, plain in orders[0].items():
            assert all(sorted(order[sample]) == sorted(plain) for order in orders)
            assert len({order[sample] for order in orders}) == 4
    frame = leaderboard(tmp_path / "out")
    row = frame[frame["metric"] == "accuracy"].iloc[0]
    scores = np.array([[_accuracy(one) for one in done if one.cell.seed == seed] for seed in (0, 1)])
    assert (row["seeds"], row["orders"], row["seed"]) == (2, 4, "0,1")
    assert row["score"] == pytest.approx(scores.mean())
    assert row["order_sd"] == pytest.approx(np.sqrt(scores.var(axis=1, ddof=1).mean()))
    assert row["seed_sd"] == pytest.approx(scores.mean(axis=1).std(ddof=1))
    single = leaderboard(tmp_path / "out", per_seed=True)
    assert len(single[single["metric"] == "accuracy"]) == 8
    assert single["order_sd"].isna().all()
    assert not single.duplicated(["demos", "seed", "metric"]).any()


def _accuracy(done: Any) -> float:
    return next(s["value"] for s in done.folder.scores()["scores"] if s["metric"] == "accuracy")


def test_orders_from_a_sweep_and_too_few_demonstrations_for_several(tmp_path: Path) -> None:
    grid = {"tasks": "vqav2", "shots": [0, 1, 2], "demo_orders": 3, "limit": 4}
    frame = ke.sweep(grid, out=tmp_path / "out", model=FakeModel())
    orders = frame[frame["primary"]].groupby("shots")["order"].apply(list).to_dict()
    assert orders == {0: [0], 1: [0], 2: [0, 1]}
    with pytest.raises(UsageError, match="demo_orders"):
        ke.sweep(grid | {"demo_orders": 0}, out=tmp_path / "out", model=FakeModel())


@pytest.mark.skipif(not bundled("kosmos-mini").is_dir(), reason="the bundled checkpoint is not in this checkout")
def test_from_the_command_line(tmp_path: Path) -> None:
    asked = ["run", "colours", "--data", str(tmp_path / "data"), "--tasks-dir", str(TASKS_DIR), "--out", str(tmp_path)]
    noise(tmp_path / "data", {"train": 5, "test": 2})
    told = CliRunner().invoke(app, [*asked, "--model", "fake", "--shots", "2", "--demos", "rices"])
    assert told.exit_code == 2
    assert "rices:clip:FOLDER" in told.output
    by_another = ["--model", "fake", "--shots", "2", "--demos", "rices:kosmos-mini", "--demo-orders", "2"]
    assert CliRunner().invoke(app, [*asked, *by_another]).exit_code == 0
    frame = leaderboard(tmp_path)
    assert set(frame["demos"]) == {"rices by kosmos-mini"}
    assert frame.groupby("model")["orders"].max().to_dict() == {"fake": 2}
