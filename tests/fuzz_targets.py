"""What is fuzzed: every file that comes from others, by how it is read. Nothing of a valid one may be lost unnamed.

A target makes a folder of valid files of our own, of which one is replaced, and reads it as the package does. What is
read must be all there: `read` asserts so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from builders import Layout, flickr30k_tokens, raven_iq50, raven_npz
from made_up_data import TASKS_DIR, cell, colours, write_colours
from reading import RECORD_FILES, opened

from kosmos_eval.cell import Cell
from kosmos_eval.data.render_text import read_stsa
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.metrics.prediction_file import read_predictions
from kosmos_eval.models.fake import FakeModel
from kosmos_eval.outcome import outcome
from kosmos_eval.plugins import task_class
from kosmos_eval.run import run
from kosmos_eval.safe_yaml import load_yaml
from kosmos_eval.store import PER_SAMPLE, RESPONSES, SAMPLES, RunFolder
from kosmos_eval.sweep_file import read_sweep
from kosmos_eval.tables.figures import figure
from kosmos_eval.tables.runs import finished_runs
from kosmos_eval.template import PromptFile


@dataclass(frozen=True)
class Target:
    """A file that is replaced, and how what it lies in is read."""

    name: str
    build: Callable[[Path], Path]
    """Fills a folder and returns the file."""
    read: Callable[[Path], None]
    """Reads the file, or the folder that it is part of, and checks that nothing is lost."""

    def survives(self, file: Path, content: bytes) -> None:
        """Reads the file with another content; what is wrong with it must be told, in one line."""
        file.write_bytes(content)
        told = ""
        try:
            self.read(file)
        except KosmosEvalError as error:
            told = str(error)
        assert "\n" not in told
        assert len(told) < 2000


# --- data files -------------------------------------------------------------------------------------------------------


def _records(layout: Layout) -> Target:
    def build(folder: Path) -> Path:
        return layout.build(folder) / str(layout.file)

    def read(file: Path) -> None:
        folder = file.parents[len(Path(str(layout.file)).parts) - 1]
        task = opened(layout, folder)
        task.demonstration_pool()
        splits = task.available_splits() if "split" in layout.fields else [task.split]
        samples = [sample for split in splits for sample in task.load(split)]
        if file.suffix == ".jsonl":
            rows = [json.loads(line) for line in file.read_text().split("\n") if line.strip()]
        else:
            value = json.loads(file.read_text())
            rows = value[layout.rows] if layout.rows else value
        if "caption" in layout.fields:
            used = sum(len(sample.target) for sample in samples)
        elif "rationale" in layout.fields:
            used = sum("rationale" in sample.fields for sample in samples)
        else:
            used = len(samples)
        assert used == len(rows)

    return Target(f"{layout.name}-{layout.rows or Path(str(layout.file)).stem}", build, read)


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text().split("\n") if line.strip()]


def _read_tokens(file: Path) -> None:
    task = task_class("flickr30k")(file.parent, "test")
    samples = [sample for split in task.available_splits() for sample in task.load(split)]
    if file.suffix == ".token":
        images = [line.split("#")[0] for line in _lines(file)]
        shown = {sample.id for sample in samples}
        assert sum(len(sample.target) for sample in samples) == sum(image in shown for image in images)
    else:
        assert len(task.samples) == len(_lines(file))


def _read_puzzles(file: Path) -> None:
    task = task_class("raven_iq")(file.parents[1], "test")
    assert len(task.samples) == 4


def _read_language(file: Path) -> None:
    samples = task_class("copa")(file.parent).samples
    assert [sample.id for sample in samples] == [str(k) for k in range(1, len(_lines(file)) + 1)]


def _write_language(folder: Path) -> Path:
    rows = [{"query": f"It rained {k}, so", "choices": ["it was wet", "it was dry"], "gold": k % 2} for k in range(4)]
    rows += [{"context_options": ["a cat", "a dog"], "continuation": "barks", "gold": 1}]
    return _written(folder / "copa.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def _read_stsa(file: Path) -> None:
    assert len(read_stsa(file)) == len(file.read_text().splitlines())


def _read_predictions(file: Path) -> None:
    found, text = read_predictions(file), file.read_text(encoding="utf-8-sig")
    assert len(found) == len(json.loads(text) if text.lstrip().startswith("[") else _lines(file))


def _written(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


DATA = [
    *map(_records, RECORD_FILES),
    Target("flickr30k_tokens-token", lambda d: flickr30k_tokens(d) / "results_20130124.token", _read_tokens),
    Target("flickr30k_tokens-list", lambda d: flickr30k_tokens(d) / "test.txt", _read_tokens),
    Target("raven_iq50-labels", lambda d: raven_iq50(d) / "test/labels.json", _read_puzzles),
    Target("raven_npz", lambda d: raven_npz(d) / "center_single/RAVEN_9_test.npz", _read_puzzles),
    Target("language", _write_language, _read_language),
    Target("stsa", lambda d: _written(d / "stsa.txt", "1 a fine film\n0 a -lrb- dull -rrb- one\n"), _read_stsa),
    Target("predictions-lines", lambda d: _written(
        d / "p.jsonl", '{"id": "a", "prediction": "x"}\n{"id": 7, "scores": {" yes": -1.5, " no": -0.25}}\n'
    ), _read_predictions),
    Target("predictions-list", lambda d: _written(
        d / "p.json", '[{"question_id": 1, "answer": "x"}, {"image_id": 2, "caption": "y"}]'), _read_predictions),
]  # fmt: skip


# --- prompt and sweep files -------------------------------------------------------------------------------------------


def _write_prompts(folder: Path) -> Path:
    write_colours(folder / "data", {"train": 3, "test": 2})
    return _written(folder / "colours.yaml", (TASKS_DIR / "colours.yaml").read_text())


def _read_prompts(file: Path) -> None:
    prompts = PromptFile.read(file)
    assert len(prompts.templates) == len(load_yaml(file.read_text(encoding="utf-8")))
    for name in prompts.templates:
        planned = Cell.of(colours(file.parent / "data"), prompts, name, shots=2)
        list(islice(planned.plan({demo.id: "so" for demo in planned.rationale_demos} or None), 2))


SWEEP = """\
tasks: [vqav2, colours]
models: [kosmos-mini, {name: other, dtype: float32}]
prompts: [standard, mcot]
shots: [0, 4]
limit: 16
overrides: {vqav2: {shots: 8}}
exclude: [{prompts: mcot, shots: 0}]
out: results
"""


def _read_sweep(file: Path) -> None:
    sweep, _ = read_sweep(file)
    for task in sweep.tasks:
        sweep.axes(task)
    raw = load_yaml(file.read_text(encoding="utf-8"))
    assert raw.keys() <= type(sweep).model_fields.keys()
    assert len(sweep.tasks) == (len(raw["tasks"]) if isinstance(raw["tasks"], list) else 1)


ASKED = [
    Target("prompts", _write_prompts, _read_prompts),
    Target("sweep", lambda d: _written(d / "sweep.yaml", SWEEP), _read_sweep),
]


# --- stored runs ------------------------------------------------------------------------------------------------------


def _write_run(file: str) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        task = colours(write_colours(folder / "data", {"train": 3, "test": 6}))
        path = run(cell(task, "standard", shots=1), FakeModel(), folder / "out").folder.path
        return path / file

    return build


def _read_run(file: Path) -> None:
    """As tables and scoring read it."""
    folder = RunFolder(file.parent)
    metrics = task_class("colours", TASKS_DIR).metrics
    runs, _ = finished_runs(file.parents[1])
    for found in runs:
        assert len(found.asked) >= len(found.values)
        for metric in found.figures:
            figure([found], metric)
    if file.name == PER_SAMPLE and runs:
        assert len(runs[0].values) == len(_lines(file))
    if file.name == SAMPLES:
        assert outcome(folder, metrics).counts.samples == len(_lines(file))
    if file.name == RESPONSES:
        counts = outcome(folder, metrics).counts
        assert counts.answered + counts.failed == counts.samples
        assert len(list(folder.each_record())) == _committed_lines(file)


def _committed_lines(file: Path) -> int:
    """The lines up to the last one that ends a unit."""
    lines = file.read_bytes().split(b"\n")[:-1]
    ends = [place for place, line in enumerate(lines) if _ends_unit(line)]
    return sum(bool(line.strip()) for line in lines[: ends[-1] + 1]) if ends else 0


def _ends_unit(line: bytes) -> bool:
    try:
        value: Any = json.loads(line.decode("ascii"))
        return value.get("commit", 1) is not None  # lines of earlier versions have none: each was a unit
    except (ValueError, AttributeError):
        return False


STORED = [
    Target(f"stored-{name}", _write_run(name), _read_run)
    for name in ("run.json", RESPONSES, SAMPLES, PER_SAMPLE, "scores.json")
]

TARGETS = [*DATA, *ASKED, *STORED]
