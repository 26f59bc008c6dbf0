"""Text as pictures: boxes that hold the ink, nothing shrunk, and the official layout made of a sentence file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kosmos_eval.api import load_task
from kosmos_eval.data.mini import rendered_sst2
from kosmos_eval.data.render_text import RERENDERED_MARKER, render_sst2, render_text
from kosmos_eval.errors import DataError


@given(st.lists(st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=14), min_size=1,
                max_size=22), st.sampled_from(rendered_sst2.FONTS), st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_character_boxes_hold_the_ink(words: list[str], font: str, offset: int) -> None:
    text = " ".join(words)
    rendered = render_text(text, font=font, x_offset=offset, y_offset=offset)
    assert "".join(char for char, *_ in rendered.chars) == " ".join(text.split())
    ink = np.asarray(rendered.image.convert("L")) < 128
    covered = np.zeros_like(ink)
    for _, x0, y0, x1, y1 in rendered.chars:
        assert x0 <= x1
        covered[max(y0, 0) : y1, max(x0 - 2, 0) : x1 + 2] = True
    assert not (ink & ~covered).any()


def test_text_is_never_shrunk() -> None:
    longest = ("some words of a long sentence " * 9)[:270]
    assert render_text(longest).image.size == (448, 448)
    with pytest.raises(ValueError, match="do not fit"):
        render_text(longest * 3)
    with pytest.raises(ValueError, match="pixels wide"):
        render_text("w" * 60)


def test_sentence_files_become_the_official_layout(tmp_path: Path) -> None:
    source, out = tmp_path / "stsa.txt", tmp_path / "out"
    source.write_text("1 it works -lrb- well -rrb- .\n0 it does not .\n", encoding="utf-8")
    assert render_sst2(source, out, "valid") == 2
    lines = (out / "valid" / "rationales.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"file": "positive/00000.png", "rationale": "it works ( well ) ."},
        {"file": "negative/00001.png", "rationale": "it does not ."},
    ]
    with Image.open(out / "valid" / "positive" / "00000.png") as image:
        assert image.size == (448, 448)
    assert json.loads((out / RERENDERED_MARKER).read_text())["splits"]["valid"]["count"] == 2
    out.rename(tmp_path / "rendered-sst2")
    assert load_task("rendered_sst2", tmp_path, "valid").data_label == "re-rendered", "of the folder around it, too"
    (tmp_path / "rendered-sst2").rename(out)
    for broken in ("1 fine\nsentence\n", "1 fine\n2 what\n", "1 fine\n0 \n", "1 fine\n0 " + "w" * 99):
        source.write_text(broken, encoding="utf-8")
        with pytest.raises(DataError, match=r"stsa\.txt, line 2"):
            render_sst2(source, out, "broken")
        assert sorted(p.name for p in out.iterdir()) == [RERENDERED_MARKER, "valid"], "half a split is left"
    with pytest.raises(DataError, match="there already"):
        render_sst2(source, out, "valid")
    source.write_bytes(b"1 caf\xe9\n")
    with pytest.raises(DataError, match="UTF-8"):
        render_sst2(source, out, "broken")
    with pytest.raises(DataError, match="absent"):
        render_sst2(tmp_path / "absent", out, "broken")
