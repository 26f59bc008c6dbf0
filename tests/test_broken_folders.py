"""Broken folders, text files, archives and pictures: each is one DataError or ImageError that names what is broken."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders
import numpy as np
import pytest
from PIL import Image as PIL
from reading import layout_of, refused

from kosmos_eval.data import files, images, npz
from kosmos_eval.data.check import check
from kosmos_eval.errors import ImageError
from kosmos_eval.plugins import task_class
from kosmos_eval.prompt import Image

Break = Callable[[Path], Any]


def gone(path: Path) -> None:
    path.unlink()


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_link(target: str) -> Break:
    def make(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return make


def bytes_(content: bytes) -> Break:
    return lambda path: path.write_bytes(content)


def cut(share: float) -> Break:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def huge_png(path: Path) -> None:
    """A tiny file that claims 60,000 by 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))


def flipped(at: int) -> Break:
    def flip(path: Path) -> None:
        raw = bytearray(path.read_bytes())
        raw[at] ^= 0xFF
        path.write_bytes(raw)

    return flip


def zero_width(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[16:20] = bytes(4)
    path.write_bytes(raw)


PICTURES: dict[str, Break] = {
    "missing": gone, "a folder": as_folder, "a pipe": as_pipe, "a dangling link": as_link("nowhere"),
    "a link to itself": as_link("0002.png"), "a device": as_link("/dev/zero"), "empty": bytes_(b""),
    "text": bytes_(b"hello"), "HTML": bytes_(b"<!doctype html>404"), "JSON": bytes_(b'{"error": 1}'),
    "zeros": bytes_(bytes(500)), "truncated": cut(0.6), "truncated header": cut(0.05), "its signature only": cut(0.02),
    "more than 64 million pixels": huge_png, "a broken checksum": flipped(20), "a broken header": flipped(12),
    "a broken palette type": flipped(25), "broken data": flipped(60), "no width": zero_width,
    "PostScript": bytes_(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"),
    "SVG": bytes_(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "a zip": bytes_(b"PK\x03\x04" + bytes(40)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", PICTURES)
def test_broken_picture(kind: str, tmp_path: Path) -> None:
    builders.rendered_sst2(tmp_path)
    path = tmp_path / "test/negative/0002.png"
    PICTURES[kind](path)
    with pytest.raises(ImageError, match=r"test/negative/0002\.png") as caught:
        images.load(images.ref(tmp_path, "test/negative/0002.png"))
    assert "\n" not in str(caught.value)
    if path.is_file():
        report = check(task_class("rendered_sst2"), tmp_path)
        assert "negative/0002.png" in report.splits[2].unreadable[0]
        assert not report.usable


def test_decoding_is_what_pillow_does(tmp_path: Path) -> None:
    for mode in ("RGB", "L", "P", "1", "RGBA", "LA", "CMYK"):
        path = tmp_path / f"{mode}.{'tiff' if mode == 'CMYK' else 'png'}"
        PIL.new(mode, (3, 2)).save(path)
        with PIL.open(path) as picture:
            expected = picture.convert("RGB")
        loaded = images.load(Image.of(path))
        assert (loaded.mode, loaded.size, loaded.tobytes()) == ("RGB", (3, 2), expected.tobytes())
    assert images.load(Image.of(PIL.new("L", (2, 2), 7))).getpixel((0, 0)) == (7, 7, 7)
    with pytest.raises(ImageError, match="neither a file nor pixels"):
        images.load(Image("nothing"))


def added(name: str, content: bytes = b"x") -> Break:
    def add(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    return add


def renamed(old: str, new: str) -> Break:
    return lambda folder: (folder / old).rename(folder / new)


def at(name: str, broken: Break) -> Break:
    return lambda folder: broken(folder / name)


def removed(name: str) -> Break:
    def remove(folder: Path) -> None:
        emptied(folder / name)
        (folder / name).rmdir()

    return remove


SST2: dict[str, tuple[Break, str]] = {
    "a label missing": (removed("test/positive"), "test/positive"),
    "a label empty": (at("test/positive", emptied), "test/positive"),
    "a third label": (added("test/neutral/0.png"), "test/neutral"),
    "a label misspelt": (renamed("test/positive", "test/postive"), "test/postive"),
    "a JPEG": (added("test/positive/1.jpg"), "positive/1.jpg"),
    "a text": (added("test/positive/labels.txt"), "positive/labels.txt"),
    "a folder named as a picture": (added("test/positive/9.png/x"), "positive/9.png"),
    "a label that is a file": (lambda f: (removed("test/positive")(f), added("test/positive")(f)), "test/positive"),
    "no pictures at all": (lambda f: (removed("test/positive")(f), removed("test/negative")(f)), "test/negative"),
    "the split missing": (renamed("test", "tset"), "split 'test'"),
    "a picture that is none": (added("test/positive/9.png"), "positive/9.png"),
}

TOKENS: dict[str, tuple[Break, str]] = {
    "missing list": (at("test.txt", gone), "split 'test'"),
    "both lists missing": (lambda f: (gone(f / "test.txt"), gone(f / "train.txt")), "results_20130124.token"),
    "empty list": (at("test.txt", bytes_(b"\n")), "test.txt"),
    "an image twice": (at("test.txt", bytes_(b"1006\n1007\n1006.jpg\n")), "test.txt: line 3"),
    "an image without captions": (at("test.txt", bytes_(b"1006\n77\n")), "test.txt: line 2"),
    "a path": (at("test.txt", bytes_(b"../1006\n")), "test.txt: line 1"),
    "a list in Latin-1": (at("test.txt", bytes_(b"1006\n\xe9\n")), "test.txt: line 2"),
    "a list with a byte order mark": (at("test.txt", bytes_(b"\xef\xbb\xbf1006\n")), "test.txt"),
    "a list in UTF-16": (at("test.txt", bytes_("1006\n".encode("utf-16"))), "test.txt"),
    "a binary list": (at("test.txt", bytes_(bytes(range(256)))), "test.txt"),
    "a list that is a folder": (at("test.txt", as_folder), "test.txt"),
    "missing tokens": (at("results_20130124.token", gone), "split 'test'"),
    "tokens that are a folder": (at("results_20130124.token", as_folder), "results_20130124.token"),
    "empty tokens": (at("results_20130124.token", bytes_(b"")), "results_20130124.token"),
    "truncated tokens": (at("results_20130124.token", cut(0.1)), "results_20130124.token"),
    "no tab": (at("results_20130124.token", bytes_(b"1006.jpg#0 A dog.\n")), "token: line 1"),
    "no number": (at("results_20130124.token", bytes_(b"1006.jpg\tA dog.\n")), "token: line 1"),
    "a number twice": (at("results_20130124.token", bytes_(b"1.jpg#0\tA\n1.jpg#0\tB\n")), "token: line 2"),
    "NUL": (at("results_20130124.token", bytes_(b"1006.jpg#0\tA\0\n")), "token: line 1"),
    "a novel": (at("results_20130124.token", bytes_(b"1.jpg#0\t" + b"x" * 200_000)), "token: line 1"),
    "blank captions": (
        at("results_20130124.token", bytes_(b"".join(b"%d.jpg#0\t \n" % n for n in range(1000, 1010)))), "1006.jpg",
    ),
    "absurd size": (at("results_20130124.token", lambda p: os.truncate(p, files.MAX_FILE_BYTES + 1)), "token"),
}  # fmt: skip

IQ50: dict[str, tuple[Break, str]] = {
    "no labels": (at("test/labels.json", gone), "labels.txt"),
    "truncated labels": (at("test/labels.json", cut(0.5)), "labels.json"),
    "empty labels": (at("test/labels.json", bytes_(b"{}")), "labels.json"),
    "labels in a list": (at("test/labels.json", bytes_(b'["a"]')), "labels.json"),
    "a number as label": (at("test/labels.json", bytes_(b'{"exp-1": 2}')), "'exp-1'"),
    "a puzzle twice": (at("test/labels.json", bytes_(b'{"exp-1": "a", "exp-1": "b"}')), "labels.json"),
    "a puzzle without label": (at("test/labels.json", bytes_(b'{"exp-1": "a"}')), "exp-2"),
    "a label without puzzle": (removed("test/exp-4"), "'exp-4'"),
    "an unknown letter": (
        at("test/labels.json", bytes_(b'{"exp-1": "g", "exp-2": "a", "exp-3": "a", "exp-4": "a"}')), "exp-1",
    ),
    "labels that are a folder": (at("test/labels.json", as_folder), "labels.json"),
    "a line of three words": (
        lambda f: (gone(f / "test/labels.json"), added("test/labels.txt", b"exp-1 is b\n")(f)), "labels.txt: line 1",
    ),
    "a labels line twice": (
        lambda f: (gone(f / "test/labels.json"), added("test/labels.txt", b"exp-1 b\nexp-1 c\n")(f)),
        "labels.txt: line 2",
    ),
    "the first query missing": (at("test/exp-2/query-1.png", gone), "exp-2"),
    "a query missing": (at("test/exp-2/query-2.png", gone), "query-2.png"),
    "no queries": (lambda f: [gone(p) for p in (f / "test/exp-2").glob("query*")], "exp-2"),
    "a candidate missing": (at("test/exp-2/answer-b.png", gone), "answer-b.png"),
    "no candidates": (lambda f: [gone(p) for p in (f / "test/exp-2").glob("answer*")], "exp-2"),
    "an empty puzzle": (at("test/exp-3", emptied), "exp-3"),
    "a strange file": (added("test/exp-1/solution.png"), "exp-1/solution.png"),
    "a numbered candidate": (added("test/exp-1/answer-1.png"), "exp-1/answer-1.png"),
    "eleven queries": (lambda f: [added(f"test/exp-1/query-{n}.png")(f) for n in range(4, 12)], "exp-1"),
    "a panel that is a folder": (at("test/exp-1/query-2.png", as_folder), "query-2.png"),
    "a panel that is no picture": (at("test/exp-1/query-2.png", bytes_(b"x")), "query-2.png"),
}  # fmt: skip


def arrays(**changed: Any) -> Break:
    def write(path: Path) -> None:
        made = builders.puzzle_arrays(9) | changed
        np.savez(path, **{k: v for k, v in made.items() if v is not None})

    return write


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", bytes(npz.MAX_ARRAY_BYTES + 1))


PUZZLE = "center_single/RAVEN_9_test.npz"
NPZ: dict[str, tuple[Break, str]] = {
    kind: (at(PUZZLE, broken), PUZZLE)
    for kind, broken in {
        "empty": bytes_(b""), "truncated": cut(0.7), "text": bytes_(b"hello"), "a folder": as_folder, "a pipe": as_pipe,
        "a dangling link": as_link("nowhere"), "zeros": bytes_(bytes(300)), "no image": arrays(image=None),
        "no target": arrays(target=None), "a target of -1": arrays(target=np.int64(-1)),
        "a target of 8": arrays(target=np.int64(8)), "a target in text": arrays(target=np.array("3")),
        "a target in fractions": arrays(target=np.float64(3)), "two targets": arrays(target=np.array([1, 2])),
        "fifteen panels": arrays(image=np.zeros((15, 20, 20), np.uint8)),
        "flat panels": arrays(image=np.zeros((16, 400), np.uint8)),
        "colour panels": arrays(image=np.zeros((16, 20, 20, 3), np.uint8)),
        "fractions": arrays(image=np.zeros((16, 20, 20), np.float32)),
        "empty panels": arrays(image=np.zeros((16, 0, 20), np.uint8)),
        "a pickle": arrays(target=np.array([{"a": 1}], dtype=object)), "a bomb": bomb, "a flipped bit": flipped(60),
    }.items()
} | {"no split in the name": (renamed(PUZZLE, "center_single/RAVEN_9.npz"), "RAVEN_9.npz")}  # fmt: skip

CASES = [
    (name, kind)
    for name, kinds in (("rendered_sst2", SST2), ("flickr30k_tokens", TOKENS), ("raven_iq50", IQ50), ("raven_npz", NPZ))
    for kind in kinds
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_broken_folder(name: str, kind: str, tmp_path: Path) -> None:
    layout = layout_of(name)
    folder = layout.build(tmp_path)
    kinds = {"rendered_sst2": SST2, "flickr30k_tokens": TOKENS, "raven_iq50": IQ50, "raven_npz": NPZ}[name]
    broken, named = kinds[kind]
    broken(folder)
    refused(layout, folder, named)


@pytest.mark.parametrize("record", ["image/16", "image", "image/-1", "nothing/0", "image/x", "../image/0", "target/0"])
def test_records_of_archives(record: str, tmp_path: Path) -> None:
    builders.raven_npz(tmp_path)
    with pytest.raises(ImageError, match=r"RAVEN_9_test\.npz"):
        images.load(images.ref(tmp_path, PUZZLE, record))
