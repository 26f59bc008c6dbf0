"""Broken record files: whatever is wrong is one DataError that names the file and the record."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import OTHER_FILES, Layout
from reading import Rows, by_file, layout_of, read_rows, refused, where_of, write_value

from kosmos_eval.data import files, images
from kosmos_eval.errors import DataError


def swap_bytes(old: bytes, new: bytes) -> Callable[[Path], None]:
    def corrupt(path: Path) -> None:
        raw = path.read_bytes()
        assert old in raw
        path.write_bytes(raw.replace(old, new, 1))

    return corrupt


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def absurd_size(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(files.MAX_FILE_BYTES + 1)  # sparse: takes no space


def in_utf16(path: Path) -> None:
    path.write_text(path.read_text(), encoding="utf-16")


BYTE_CORRUPTIONS: dict[str, Callable[[Path], None]] = {
    "a directory": a_directory,
    "a pipe": lambda p: (p.unlink(), os.mkfifo(p))[0],
    "empty": lambda p: p.write_bytes(b"") and None,
    "blank": lambda p: p.write_bytes(b" \n \n") and None,
    "truncated": lambda p: p.write_bytes(p.read_bytes()[:-10]) and None,
    "truncated in the first record": lambda p: p.write_bytes(p.read_bytes()[:25]) and None,
    "byte order mark": lambda p: p.write_bytes(b"\xef\xbb\xbf" + p.read_bytes()) and None,
    "UTF-16": in_utf16,
    "Latin-1": swap_bytes(b'": ', b'\xe9": '),
    "binary": lambda p: p.write_bytes(bytes(range(256)) * 4) and None,
    "HTML": lambda p: p.write_bytes(b"<!doctype html><title>404</title>") and None,
    "a number": lambda p: p.write_bytes(b"3") and None,
    "a text": lambda p: p.write_bytes(b'"data"') and None,
    "null": lambda p: p.write_bytes(b"null") and None,
    "an empty object": lambda p: p.write_bytes(b"{}") and None,
    "a list of numbers": lambda p: p.write_bytes(b"[1, 2]") and None,
    "NaN": swap_bytes(b": ", b": NaN, "),
    "nested deeply": lambda p: p.write_bytes(b"[" * 200_000) and None,
    "a huge number": lambda p: p.write_bytes(b'{"a": ' + b"9" * 10_000 + b"}") and None,
    "a key twice": swap_bytes(b'{"', b'{"zz": 1, "zz": 2, "'),
    "a control character": swap_bytes(b'": "', b'": "\x01'),
    "absurd size": absurd_size,
    "a dangling link": lambda p: (p.unlink(), p.symlink_to("nowhere"))[0],
}


@by_file
@pytest.mark.parametrize("kind", BYTE_CORRUPTIONS)
def test_broken_file(layout: Layout, kind: str, tmp_path: Path) -> None:
    folder = layout.build(tmp_path)
    if kind == "a dangling link" and "rationales" in str(layout.file):
        pytest.skip("a file that need not be there")
    path = folder / str(layout.file)
    BYTE_CORRUPTIONS[kind](path)
    refused(layout, folder, path.name if kind != "a dangling link" else str(folder))


@by_file
def test_missing_file(layout: Layout, tmp_path: Path) -> None:
    folder = layout.build(tmp_path)
    if "rationales" in str(layout.file):
        pytest.skip("a file that need not be there")
    (folder / str(layout.file)).unlink()
    refused(layout, folder, str(folder))


RECORD_CORRUPTIONS: dict[str, Callable[[Layout, Rows], Any]] = {
    "not an object": lambda lay, rows: rows.__setitem__(-1, ["a", "b"]),
    "null": lambda lay, rows: rows.__setitem__(-1, None),
    "doubled": lambda lay, rows: rows.append(copy.deepcopy(rows[-1])),
    "empty object": lambda lay, rows: rows.__setitem__(-1, {}),
}


@by_file
@pytest.mark.parametrize("kind", RECORD_CORRUPTIONS)
def test_broken_record(layout: Layout, kind: str, tmp_path: Path) -> None:
    folder = layout.build(tmp_path)
    value, rows = read_rows(layout, folder)
    RECORD_CORRUPTIONS[kind](layout, rows)
    write_value(layout, folder, value)
    refused(layout, folder, Path(str(layout.file)).name, where_of(layout, rows))


FIELD_VALUES: dict[str, Any] = {
    "null": None, "true": True, "a float": 1.5, "an object": {"a": 1}, "an empty list": [], "a list of nulls": [None],
    "an empty text": "", "a blank text": "  ", "half a character": "\ud800", "NUL": "a\0b", "a novel": "x" * 200_000,
    "a huge number": 10**30,
}  # fmt: skip


@by_file
@pytest.mark.parametrize("kind", ["missing", *FIELD_VALUES])
def test_broken_field(layout: Layout, kind: str, tmp_path: Path) -> None:
    folder = layout.build(tmp_path)
    pristine, _ = read_rows(layout, folder)
    for field in layout.fields:
        if field in ("text", "caption") and kind in ("an empty text", "a blank text"):
            continue  # a meme without words; one caption of five
        value = copy.deepcopy(pristine)
        rows = value if isinstance(value, list) else value[layout.rows]
        if kind == "missing":
            del rows[-1][field]
        else:
            rows[-1][field] = FIELD_VALUES[kind]
        write_value(layout, folder, value)
        refused(layout, folder, Path(str(layout.file)).name, where_of(layout, rows))


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/../../b.png", "C:\\x.png", "C:x.png", "..", "\\\\h\\x"]
)
def test_image_names_stay_inside(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not lie inside"):
        images.ref(tmp_path, name)
    for layout, field in (
        (layout_of("hateful_memes"), "img"),
        (layout_of("vizwiz"), "image"),
        (layout_of("flickr30k"), "filename"),
        (layout_of("coco_captions"), "file_name"),
    ):
        folder = layout.build(tmp_path / layout.name)
        value, rows = read_rows(layout, folder)
        rows[-1][field] = name
        write_value(layout, folder, value)
        refused(layout, folder, Path(str(layout.file)).name, where_of(layout, rows))


# --- questions and annotations that do not fit each other ------------------------------------------------------------


@pytest.mark.parametrize("layout", [layout_of("vqav2"), layout_of("vizwiz_pairs")], ids=lambda layout: layout.name)
def test_questions_and_annotations_must_match(layout: Layout, tmp_path: Path) -> None:
    annotations = next(lay for lay in OTHER_FILES if lay.build is layout.build)
    for changed, other in ((layout, annotations), (annotations, layout)):
        folder = layout.build(tmp_path)
        value, rows = read_rows(changed, folder)
        gone = rows.pop()["question_id"]
        write_value(changed, folder, value)
        refused(layout, folder, str(changed.file), str(other.file), f"question_id {gone}")
    folder = layout.build(tmp_path)
    value, rows = read_rows(annotations, folder)
    rows[-1]["image_id"] = "999"
    write_value(annotations, folder, value)
    refused(layout, folder, str(annotations.file), "image_id '999'")


def test_ten_answers(tmp_path: Path) -> None:
    for layout in (OTHER_FILES[0], layout_of("vizwiz")):
        folder = layout.build(tmp_path / layout.name)
        value, rows = read_rows(layout, folder)
        rows[-1]["answers"].pop()
        write_value(layout, folder, value)
        refused(layout, folder, "has 9 answers", where_of(layout, rows))


def test_all_captions_blank(tmp_path: Path) -> None:
    layout = layout_of("flickr30k")
    value, rows = read_rows(layout, layout.build(tmp_path))
    rows[-1]["sentences"] = [{"raw": " "}]
    write_value(layout, tmp_path, value)
    refused(layout, tmp_path, "images[9]", "1009.jpg")
