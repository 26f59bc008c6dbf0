"""Image tokens on disk: they spare the vision tower, they never change an answer, and they keep to their room."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from checkpoints import hf_config, make_checkpoint, picture

from kosmos_eval.engine.image_files import FOLDER, LIMIT, ImageFiles
from kosmos_eval.errors import UsageError
from kosmos_eval.models.kosmos import KosmosModel
from kosmos_eval.prompt import Image, Prompt

PICTURES = [picture(random.Random(i)) for i in range(5)]


def ask(folder: Path, dtype: str = "float32") -> tuple[list[list[float]], int]:
    """Scores of five pictures by a freshly loaded model, and how many of them it had to look at."""
    model = KosmosModel.load(folder, "random", dtype=dtype)
    scores = model.score([(Prompt(Image.of(p), "Question: is it red? Answer:"), [" yes", " no"]) for p in PICTURES])
    return scores, model.engine.images.encoded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint")
    make_checkpoint(path, seed=3, config=hf_config(layers=1, max_position_embeddings=256))
    return path


def test_a_second_run_looks_at_no_picture_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, looked = ask(folder)
    assert looked == len(PICTURES)
    monkeypatch.setenv(FOLDER, str(tmp_path / "cache"))
    assert ask(folder) == (plain, len(PICTURES))
    assert ask(folder) == (plain, 0)
    assert ask(folder, "bfloat16")[1] == len(PICTURES), "another dtype has image tokens of its own"
    files = sorted((tmp_path / "cache").rglob("*.safetensors"))
    files[0].write_bytes(files[0].read_bytes()[:50])
    files[1].write_bytes(b"")
    again = [ask(folder, dtype)[1] for dtype in ("float32", "bfloat16")]
    assert sum(again) == 2, "what is not whole is looked at again"


def test_the_least_recently_used_make_room(tmp_path: Path) -> None:
    tokens = torch.zeros(4, 64)
    files = ImageFiles(tmp_path, "m", limit=10 * (tokens.nbytes + 100))
    others = [tmp_path / "checkpoint" / "model.safetensors", tmp_path / "m" / "ab" / "model.safetensors"]
    for other in others:
        other.parent.mkdir(parents=True)
        other.write_bytes(b"somebody's")
    for number in range(30):
        files.put(bytes([number] * 16), tokens)
    kept = [n for n in range(30) if files.get(bytes([n] * 16), (4, 64)) is not None]
    own = [f for f in tmp_path.rglob("*.safetensors") if f not in others]
    assert sum(f.stat().st_size for f in own) <= files.limit
    assert all(other.read_bytes() == b"somebody's" for other in others), "files of others stay"
    assert 29 in kept
    assert 0 not in kept
    assert files.get(bytes([29] * 16), (4, 32)) is None, "tokens of another shape are not these"


def test_a_folder_that_may_not_be_written_costs_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, "/proc/nowhere")
    assert ask(folder)[1] == len(PICTURES)


def test_a_room_that_is_no_number_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv(LIMIT, "plenty")
    with pytest.raises(UsageError, match=LIMIT):
        ask(folder)
