"""The store: units are whole or not there, whatever is cut; a full disk is told; a changed picture is asked again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest
from made_up_data import cell, colours, write_colours

from kosmos_eval.errors import DataError, ModelError, StoreError
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.record import Record
from kosmos_eval.request import Response
from kosmos_eval.responses import Appender, committed
from kosmos_eval.run import run
from kosmos_eval.spool import CHUNK, Spool


def unit(number: int, size: int) -> list[Record]:
    return [Record(f"{number}-{i}", "ab", (), Response(f"{number}-{i}"), number, 0.0) for i in range(size)]


def test_a_file_cut_anywhere_holds_whole_units(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    ends = [0]
    for number in range(3):
        with Appender(path) as appender:
            appender.commit(unit(number, 3))
        ends.append(path.stat().st_size)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends[1:])
        assert len(list(committed(path))) == 3 * kept
        with Appender(path) as appender:
            assert path.stat().st_size == ends[kept]
            appender.commit(unit(9, 2))
        assert len(list(committed(path))) == 3 * kept + 2


def test_a_line_that_is_taken_out_is_named(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    with Appender(path) as appender:
        appender.commit(unit(0, 3))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))
    with pytest.raises(DataError, match="ends a unit of 3 responses, but 2 are there"):
        list(committed(path))


def test_a_full_disk_is_told_and_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "responses.jsonl"
    with Appender(path) as appender:
        appender.commit(unit(0, 3))
        before = path.read_bytes()

        def full(descriptor: int) -> None:
            raise OSError(28, os.strerror(28))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(StoreError, match=r"responses\.jsonl: the disk is full .* are to be written"):
                appender.commit(unit(1, 3))
        assert path.read_bytes() == before
        appender.commit(unit(1, 3))
    assert len(list(committed(path))) == 6


def test_a_replaced_picture_is_asked_about_again_and_a_touched_one_is_not(tmp_path: Path) -> None:
    task = colours(write_colours(tmp_path / "data", {"train": 4, "test": 6}))
    run(cell(task), FakeModel(), tmp_path)
    os.utime(tmp_path / "data" / "test1.png", (1, 1))
    assert run(cell(task), FakeModel(), tmp_path).asked == 0
    PIL.Image.new("RGB", (5, 5), "green").save(tmp_path / "data" / "test2.png")
    model = FakeModel()
    assert run(cell(task), model, tmp_path).asked == 1
    assert model.seen == ["test/2"]


def test_an_exception_of_the_model_costs_its_sample_only(tmp_path: Path) -> None:
    task = colours(write_colours(tmp_path / "data", {"train": 4, "test": 6}))
    bad = FakeModel(raises=lambda r: RuntimeError("CUDA error") if r.id == "test/3" else None)
    done = run(cell(task), bad, tmp_path)
    assert dict(done.errors) == {"test/3": "RuntimeError: CUDA error"}
    assert (done.manifest.counts.answered, done.manifest.counts.failed) == (5, 1)
    assert run(cell(task), FakeModel(), tmp_path).asked == 1
    dead = FakeModel(raises=lambda r: RuntimeError("device lost"))
    with pytest.raises(ModelError, match="fails at whatever it is asked"):
        run(cell(task), dead, tmp_path / "other")


def test_a_spool_is_a_sequence(tmp_path: Path) -> None:
    items = list(range(3 * CHUNK + 5))
    spool = Spool(items)
    assert list(spool) == items
    assert [spool[0], spool[-1], spool[CHUNK]] == [0, items[-1], CHUNK]
    assert spool[CHUNK - 2 : CHUNK + 2] == items[CHUNK - 2 : CHUNK + 2]
    assert replace(unit(0, 1)[0], seconds=0.0) in Spool(unit(0, 1))
