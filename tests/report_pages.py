"""Runs to report on, made by a scripted model, and a reader of the pages made from them."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import PIL.Image
from builders import hateful_memes, raven_iq50
from made_up_data import TASKS_DIR, colours, write_colours

from kosmos_eval.api import evaluate, load_task
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.report.page import embedded

HOSTILE = (
    "</script><script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 2'>",
    "<!--<script>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp; \u2028 \u2029",
    "\u202e\u2067right to left\u200f",
    "verylongword" * 40,
)
"""Texts that would be something else than text, were they not taken for what they are."""


def write_runs(folder: Path) -> Path:
    """Runs of squares, memes and puzzles under both prompts, the squares with shots too; the folder of the runs."""
    data, out = folder / "data", folder / "out"
    squares = colours(write_colours(data / "colours", {"train": 8, "test": 13}))
    for prompt in ("standard", "mcot"):
        for shots in (0, 2):
            evaluate(FakeModel(), squares, prompt, shots, prompts=TASKS_DIR, out=out)
    for name, build in (("hateful_memes", hateful_memes), ("raven_iq", raven_iq50)):
        task = load_task(name, data=build(data / name))
        for prompt in ("standard", "mcot"):
            evaluate(FakeModel(), task, prompt, out=out)
    return out


def write_hostile_runs(folder: Path) -> Path:
    """Runs whose ids, texts, answers and names are hostile."""
    data = folder / "data"
    data.mkdir()
    for split in ("train", "test"):
        rows = []
        for k, text in enumerate(HOSTILE):
            PIL.Image.new("RGB", (4, 4), (k, 0, 0)).save(data / f"{split}{k}.png")
            row = {"id": f"{split}/{text}", "image": f"{split}{k}.png", "question": text, "rationale": text}
            rows.append({**row, "colour": ("red", "blue")[k % 2]})
        (data / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    task = colours(data)
    model = FakeModel(name="</script><b>", answer=lambda request, stage, sequence: HOSTILE[1])
    for prompt in ("standard", "mcot"):
        evaluate(model, task, prompt, 2, prompts=TASKS_DIR, out=folder / "out <i>")
    return folder / "out <i>"


def write_many(page: Path, samples: int, picture_bytes: int) -> Path:
    """The page again, with so many samples like its own, each with its own id and question, and more pictures."""
    text = page.read_text(encoding="utf-8")
    payload, images = Page(page).json("payload"), Page(page).json("images")
    few, rows, answers = (payload[name] for name in ("samples", "rows", "answers"))
    grown = {**payload, "samples": [], "rows": [], "answers": []}
    for k in range(samples):
        setting, sample, marks, own = rows[k % len(rows)]
        _, gold, fields, *rest = few[sample]
        fields = [["question", f"Which colour, {k}?"], *(f for f in fields if f[0] != "question")]
        grown["samples"].append([f"s{k}", gold, fields, *rest])
        grown["rows"].append([setting, k, marks, [len(grown["answers"]) + n for n in range(len(own))]])
        grown["answers"] += [answers[a] for a in own]
    heavy = images * (1 + picture_bytes // sum(len(uri) for uri, *_ in images))
    for before, after in ((payload, grown), (images, heavy)):
        text = text.replace(embedded(before), embedded(after))
    out = page.with_name("many.html")
    out.write_text(text, encoding="utf-8")
    return out


class Page(HTMLParser):
    """A report's page taken apart by a parser that is none of ours."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.text = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles: list[str] = []
        self.shown: list[str] = []
        self._inside = ""
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = attributes, before + data
        elif self._inside == "style":
            self.styles.append(data)
        else:
            self.shown.append(data)

    def json(self, name: str) -> Any:
        return json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == name))

    @property
    def policy(self) -> str:
        return next(
            str(a["content"]) for t, a in self.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
        )
