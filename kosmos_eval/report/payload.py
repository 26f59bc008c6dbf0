"""What a report's page knows about samples: plain data, each thing once, made a run at a time.

The page's script reads it as it stands here; `assets/data.js` gives the fields their names back.

- `settings`: task, data, split, model, shots, demos, seed, metric, kind, sensitive, prompts, runs (numbers)
- `runs`: path, prompt hash, source, template, and why its prompts could not be made again
- `samples`: `[id, gold, fields, pictures, candidates, target]`; `candidates` are `[name, picture]`
- `rows`: `[setting, sample, marks, answers]`; a mark is `[verdict, value]`, an answer a number or null
- `answers`: `[prediction, choices, written, error, context, stages, same]`; `choices` are
  `[name, log-probability, tokens]`, `written` are `[stage, text, finish]`, `context` and `stages` are numbers,
  null where the prompt is not known
- `contexts`: a list of demonstrations, `[id, part]` each; `parts`: lists of segments; `segments`: `[kind, content]`
- `pictures`: for each reference the number of an image, or why there is none
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kosmos_eval.prompt import Image, Output, Segment, Tag, Text, Tokens
from kosmos_eval.record import Record
from kosmos_eval.report.pictures import Pictures
from kosmos_eval.report.prompts import Prompts, Rendered, Sources
from kosmos_eval.report.runs import Run, Setting
from kosmos_eval.report.selection import Row, Selection
from kosmos_eval.task import Sample

Plain = Any
LONGEST_FIELD = 2000
"""Characters of a field, a target or a text that a report shows; what is longer is cut, and says so."""


class Table:
    """Values, each once, by number."""

    def __init__(self) -> None:
        self.values: list[Plain] = []
        self._numbers: dict[str, int] = {}

    def number(self, value: Plain) -> int:
        key = json.dumps(value)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


class Payload:
    """Gathers what is shown of the selected rows."""

    def __init__(self, settings: Sequence[Setting], selection: Selection, sources: Sources) -> None:
        self._settings, self._selection, self._sources = settings, selection, sources
        self.runs: list[dict[str, Plain]] = []
        self.answers: list[Plain] = []
        self.differing = 0
        """Answers whose prompt, made again, is not what was asked."""
        self.unknown = 0
        """Answers whose prompt could not be made again."""
        self._samples: dict[tuple[str, str, str, str], int] = {}
        self._sample_rows: list[Plain] = []
        self._segments, self._parts, self._contexts = Table(), Table(), Table()
        self._images: list[Image] = []
        self._image_numbers: dict[tuple[str, str, str | None], int] = {}
        self._shown: dict[Row, list[int]] = {row: [] for row in selection.rows}
        """The pictures of each row, those of the sample first."""

    def build(self, pictures: Pictures) -> dict[str, Plain]:
        """Everything, as plain data; fills `pictures`."""
        rows = [line for number, setting in enumerate(self._settings) for line in self._setting(number, setting)]
        for row in self._selection.rows:
            for reference in self._shown[row]:
                pictures.number(self._images[reference])
        settings = [self._describe(n, s) for n, s in enumerate(self._settings)]
        return {
            "settings": settings,
            "runs": self.runs,
            "samples": self._sample_rows,
            "rows": rows,
            "answers": self.answers,
            "contexts": self._contexts.values,
            "parts": self._parts.values,
            "segments": self._segments.values,
            "pictures": [pictures.number(image) for image in self._images],
        }

    def _describe(self, number: int, s: Setting) -> dict[str, Plain]:
        return {
            "task": s.task, "data": s.data, "split": s.split, "model": s.model, "shots": s.shots, "demos": s.demos,
            "seed": s.seed, "metric": s.metric, "kind": self._selection.kinds[number], "sensitive": s.sensitive,
            "prompts": list(s.runs), "runs": [self._run_numbers[run.path] for run in s.runs.values()],
        }  # fmt: skip

    @property
    def _run_numbers(self) -> dict[str, int]:
        return {run["path"]: number for number, run in enumerate(self.runs)}

    def _setting(self, number: int, setting: Setting) -> list[Plain]:
        """The rows of one setting, in the order of the data."""
        chosen = sorted((row for row in self._selection.rows if row.setting == number), key=lambda row: row.place)
        by_run = [self._run(run, chosen) for run in setting.runs.values()]
        lines = []
        for row in chosen:
            found = [answers.get(row.sample_id, (None, None)) for answers in by_run]
            sample = next(sample for sample, _ in found if sample is not None)
            marks = [[mark.verdict, None if mark.value is None else round(mark.value, 4)] for mark in row.marks]
            lines.append([number, sample, marks, [answer for _, answer in found]])
        return lines

    def _run(self, run: Run, rows: Sequence[Row]) -> dict[str, tuple[int, int | None]]:
        """Sample id -> (number of the sample, number of its answer) of what one run says about these rows."""
        prompts = Prompts(run, self._sources)
        m = run.manifest
        self.runs.append({
            "path": run.path, "prompt_hash": m.prompt_hash, "source": m.prompt_source, "missing": prompts.missing,
            "template": {"demo": m.template.get("demo", ""), "stages": m.template.get("stages", [])},
        })  # fmt: skip
        by_id = {row.sample_id: row for row in rows}
        asked = {line["id"]: line for line in run.folder.each_sample() if line["id"] in by_id}
        records: dict[str, Record] = {}
        for record in run.folder.each_record():
            if record.sample_id in asked and record.prompt_hash == asked[record.sample_id]["prompt_hash"]:
                records[record.sample_id] = record
        found: dict[str, tuple[int, int | None]] = {}
        for sample_id, line in asked.items():
            shown = self._shown[by_id[sample_id]]
            sample = self._sample(run, line, prompts.sample(sample_id), shown)
            kept = records.get(sample_id)
            found[sample_id] = sample, None if kept is None else self._answer(kept, prompts.of(kept), shown)
        return found

    def _sample(self, run: Run, line: Mapping[str, Any], sample: Sample | None, shown: list[int]) -> int:
        m = run.manifest
        key = (m.task, m.split, m.data_fingerprint, line["id"])
        pictures = [self._image(image) for image in sample.images] if sample else []
        candidates = [[name, self._image(image)] for name, image in sample.candidates.items()] if sample else []
        shown += pictures + [self._image(image) for image in sample.candidates.values()] if sample else []
        if key not in self._samples:
            self._samples[key] = len(self._sample_rows)
            fields = [[name, short(value)] for name, value in line["fields"].items() if value is not None]
            target = line["target"] if isinstance(line["target"], str) else None
            self._sample_rows.append([line["id"], gold(line["target"]), fields, pictures, candidates, target])
        return self._samples[key]

    def _answer(self, record: Record, rendered: Rendered | None, shown: list[int]) -> int:
        stages = record.response.stages
        scores = record.response.scores
        prediction = max(scores, key=scores.__getitem__) if scores else record.response.text
        choices = [[c.name, round(c.logprob, 4), c.tokens] for c in stages[-1].choices] if stages else []
        written = [[s.name, short(s.generated.text), s.generated.finish] for s in stages if s.generated]
        context: int | None = None
        parts: list[int] | None = None
        if rendered is None:
            self.unknown += 1
        else:
            self.differing += not rendered.same
            context = self._contexts.number([[i, self._part(segments, shown)] for i, segments in rendered.demos])
            parts = [self._part(stage.segments, shown) for stage in rendered.request.stages]
        same = None if rendered is None else rendered.same
        prediction = None if prediction is None else short(prediction.strip())
        self.answers.append([prediction, choices, written, record.response.error, context, parts, same])
        return len(self.answers) - 1

    def _part(self, segments: Iterable[Segment], shown: list[int]) -> int:
        numbers = []
        for segment in segments:
            plain = self._plain(segment)
            if plain[0] == "image":
                shown.append(plain[1])
            numbers.append(self._segments.number(plain))
        return self._parts.number(numbers)

    def _plain(self, segment: Segment) -> list[Plain]:
        match segment:
            case Text(text):
                return ["text", text]
            case Tag(name):
                return ["tag", name]
            case Tokens(ids):
                return ["tag", f"{len(ids)} tokens"]
            case Output(stage):
                return ["output", stage]
            case Image():
                return ["image", self._image(segment)]

    def _image(self, image: Image) -> int:
        key = (str(image.path), image.name, image.record)
        if key not in self._image_numbers:
            self._image_numbers[key] = len(self._images)
            self._images.append(image)
        return self._image_numbers[key]


def gold(target: Any) -> list[str]:
    """The right answers as a person reads them: each once, with how many gave it."""
    if target is None:
        return []
    if not isinstance(target, list | tuple):
        return [short(str(target).strip())]
    given = Counter(str(value) for value in target).most_common()
    return [short(text) + (f" ×{count}" if count > 1 else "") for text, count in given]


def short(value: Any) -> str:
    """A value as a text that is not too long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_FIELD else f"{text[:LONGEST_FIELD]}… ({len(text)} characters)"
