"""Hostile input: prompt files, tables, manifests. Weights, pictures and image names are tested beside theirs."""

from __future__ import annotations

import getpass
import re
import time
from pathlib import Path

import pandas as pd
import PIL.Image
import pytest
from made_up_data import cell, colours, write_colours
from packaging.version import Version

from kosmos_eval.data.images import load, ref
from kosmos_eval.disk import expanded
from kosmos_eval.errors import ImageError, PromptError
from kosmos_eval.manifest import Manifest
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.prompt import Image
from kosmos_eval.run import run
from kosmos_eval.tables.export import write_csv, write_latex, write_markdown
from kosmos_eval.tables.parts import Part
from kosmos_eval.task import Task
from kosmos_eval.template import PromptFile, render

FIELDS = {"question": "what?", "answers": ["a", "b"]}

HOSTILE = [
    "{{ question.__class__.__mro__ }}",
    "{{ question['__class__'] }}",
    "{{ answers | map(attribute='__class__') | first }}",
    "{{ ''.__class__.__base__.__subclasses__() }}",
    "{{ question.format }}{{ question.upper() }}",
    "{% include '/etc/passwd' %}",
    "{% import '/etc/passwd' as x %}",
    "{% extends '/etc/passwd' %}",
    "{{ range(10) }}",
    "{{ lipsum }}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "{% set a = 'aa' %}",
    "{% with a = 'aa' %}{% endwith %}",
    "{{ 'a' * 10**10 }}",
    "{{ 'a' * 10000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ 'a' | center(10000000000) }}",
    "{{ 1.5 | round(1000000000, 'ceil') }}",
    "{{ [[['" + "a" * 9000 + "'] | join('" + "b" * 9000 + "')] | join] | join ~ '" + "a" * 90000 + "' }}",
    "{{ 'a'" + " | replace('a', 'aaaaaaaaaa')" * 12 + " }}",
    "{% for a in '" + "a" * 200 + "' %}{% for b in '" + "b" * 200 + "' %}x{% endfor %}{% endfor %}",
    "{% for a in 'aa' %}" * 3 + "{% endfor %}" * 3,
    "{% for a in answers recursive %}{{ loop(answers) }}{% endfor %}",
    "{{ " + "(" * 5000 + " }}",
    "{{ " + "9" * 5000 + " }}",
    "{% if 1 %}" * 150 + "{% endif %}" * 150,
    "x" * 100_001,
    "{% for a in '" + "a" * 200 + "' %}{{ '" + "b" * 1000 + "' }}{% endfor %}",
    "\ue0005\ue001",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:40])
def test_hostile_templates_are_refused_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(PromptError) as caught:
        render(text, FIELDS, iter(()), None, "here")
    assert "\n" not in str(caught.value)
    assert time.process_time() - began < 2


def test_what_prompts_need_still_works() -> None:
    text = "{% for a in answers %}{{ loop.index }}. {{ a | upper }}{% if not loop.last %}, {% endif %}{% endfor %}"
    assert str(render(text, FIELDS, iter(()), None, "here")[0].text) == "1. A, 2. B"  # type: ignore[union-attr]
    text = "{{ answers | join('/') ~ '!' }}{{ 2 * 3 + answers | length }} {{ question | replace('what', 'who') }}"
    for _ in range(2):
        assert render(text, FIELDS, iter(()), None, "here")[0].text == "a/b!8 who?"  # type: ignore[union-attr]


YAML = {
    "a: &a {x: 1}\nb: &b {<<: [*a, *a]}\n": "alias",
    "a: &a [x]\nb: [*a, *a]\n": "alias",
    "a: !!python/object/apply:os.system ['true']\n": "could not determine a constructor",
    "a: {}\na: {}\n": "given twice",
    "a: 2024-99-99\n": "cannot be read",
    "[" * 3000: "nested too deeply",
}


@pytest.mark.parametrize("text", YAML, ids=lambda text: text[:20])
def test_hostile_yaml_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.yaml"
    path.write_text(text)
    with pytest.raises(PromptError, match=YAML[text]) as caught:
        PromptFile.read(path)
    assert "\n" not in str(caught.value)


EVIL = ["=1+1", "@SUM(A1)", "+1", "<script>x</script>", "a|b", "[x](javascript:0)", r"\input{/etc/passwd}", "$x$"]


@pytest.mark.parametrize("evil", EVIL)
def test_tables_neutralise_what_they_hold(evil: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"model": [evil], "score": [1.0]})
    write_csv(frame, tmp_path / "t.csv")
    assert pd.read_csv(tmp_path / "t.csv")["model"][0] == (f"'{evil}" if evil[0] in "=+-@" else evil)
    part = Part(evil, ("model", "score"), ((evil, "1"),), (evil,))
    write_markdown([part], tmp_path / "t.md")
    write_latex([part], tmp_path / "t.tex")
    markdown, latex = (tmp_path / "t.md").read_text(), (tmp_path / "t.tex").read_text()
    assert not re.search(r"(?<!\\)(<script|\[x\]|\|b)", markdown)
    assert r"\input" not in latex
    assert "$x$" not in latex


def test_manifests_hold_no_home_and_no_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "homes" / "ada-lovelace"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USER", "ada-lovelace")
    monkeypatch.setenv("LOGNAME", "ada-lovelace")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    for text in ("/here/$HF_TOKEN", "/here/${USER}", "$HF_TOKEN/x", "~ada-lovelace/x"):
        assert str(expanded(text)) == text, "a folder of somebody else's may not ask for what is in the environment"
    assert getpass.getuser() == "ada-lovelace"
    for data in (home / "data", tmp_path / "scratch" / "ada-lovelace" / "data"):
        task: Task = colours(write_colours(data, {"train": 2, "test": 3}))
        (data / "test1.png").unlink()
        out = tmp_path / "out" / data.parts[-3]
        run(cell(task, shots=1), FakeModel(check_images=True), out)
        for path in out.rglob("*"):
            text = path.read_text() if path.is_file() else ""
            assert "ada-lovelace" not in text, path.name
            assert "hf_secret" not in text
        (manifest,) = out.rglob("run.json")
        assert Manifest.read(manifest.parent).data_folder == data


def test_links_that_lead_out_of_a_data_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (private := tmp_path / "private").mkdir()
    PIL.Image.new("RGB", (4, 4), "red").save(private / "a.png")
    (data := tmp_path / "data" / "inner").mkdir(parents=True)
    PIL.Image.new("RGB", (4, 4), "red").save(data / "own.png")
    (data / "within.png").symlink_to("own.png")
    (data / "file.png").symlink_to(private / "a.png")
    (data / "folder").symlink_to(private)
    (tmp_path / "linked").symlink_to(data)  # where the data are is the user's word
    for root in (data, tmp_path / "linked"):
        for name in ("own.png", "within.png"):
            load(ref(root, name))
        for name in ("file.png", "folder/a.png"):
            with pytest.raises(ImageError, match="leads out of the data folder"):
                load(ref(root, name))
    load(Image.of(data / "file.png"))  # so is a picture that is named
    monkeypatch.setenv("KOSMOS_EVAL_FOLLOW_LINKS", "1")
    load(ref(data, "file.png"))


FIRST_MENDED = {
    "aiohttp": "3.12.14", "filelock": "3.20.1", "fonttools": "4.60.2", "h11": "0.16.0", "idna": "3.7",
    "jinja2": "3.1.6", "nltk": "3.9.1", "pillow": "11.3.0", "protobuf": "6.31.1", "pyarrow": "14.0.1",
    "pygments": "2.15.0", "pyyaml": "5.4", "requests": "2.32.4", "scikit-learn": "1.5.0",
    "setuptools": "78.1.1", "torch": "2.8.0", "tqdm": "4.66.3", "transformers": "4.53.0", "urllib3": "2.6.0",
}  # fmt: skip
"""The first versions without the holes that were published for what is installed here, as far as we know them."""


def test_pins_are_past_the_holes_we_know_of() -> None:
    lines = (Path(__file__).parents[1] / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    old = {name: pins[name] for name, first in FIRST_MENDED.items() if Version(pins[name]) < Version(first)}
    assert not old
