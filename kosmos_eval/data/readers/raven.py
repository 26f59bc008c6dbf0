"""Matrix puzzles: IQ50's folders, RAVEN's .npz files, and an index of panel images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from kosmos_eval.data.files import Record, by_id, read_jsonl, read_lines, read_object
from kosmos_eval.data.images import ref
from kosmos_eval.data.npz import read_array
from kosmos_eval.data.rationales import read_rationales
from kosmos_eval.errors import DataError
from kosmos_eval.prompt import Image
from kosmos_eval.task import Sample, Task

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MAX_PANELS = len(NUMBERS) - 1
LETTERS = "abcdefgh"
CONTEXT_PANELS, NPZ_PANELS = 8, 16
"""RAVEN's `image` holds 8 panels of the matrix, then 8 candidates (https://github.com/WellyZhang/RAVEN)."""

_NPZ_NAME = re.compile(r"(?P<stem>.+)_(?P<split>train|val|test)")
_PANEL = re.compile(r"(?P<kind>query|answer)-(?P<name>[1-9]\d?|[a-h])\.png")
_NUMBERED = re.compile(r"(.*?)(\d+)")


def puzzle(
    puzzle_id: str, panels: Sequence[Image], candidates: Mapping[str, Image], target: str | None, rationale: str | None
) -> Sample:
    """A puzzle as a sample: the target is a candidate's name; a demonstration shows the right one and " Yes"."""
    fields = {"number": NUMBERS[len(panels)], "choices": len(candidates)}
    if rationale is not None:
        fields["rationale"] = rationale
    return Sample(puzzle_id, tuple(panels), fields, target, " Yes", candidates=dict(candidates))


# --- IQ50 (https://aka.ms/kosmos-iq50): exp-N/query-1.png.., answer-a.png.. -----------------------------------------


def read_labels(folder: Path) -> dict[str, str]:
    """The right answers of IQ50 folders: `labels.json` ({"exp-1": "c"}), `.csv` (`exp-1,c`) or `.txt` (`exp-1 c`).

    The archive is not known to have such a file, so what a person is likely to write is taken.
    """
    paths = [folder / f"{stem}.{suffix}" for stem in ("labels", "answers") for suffix in ("json", "csv", "txt")]
    path = next((p for p in paths if p.exists()), None)
    if path is None:
        raise DataError(f"{folder}: no labels.json, labels.csv or labels.txt with the right answers (`exp-1 c` a line)")
    if path.suffix == ".json":
        record = read_object(path)
        pairs = [(record.where, key, record.text(key)) for key in record.values]
    else:
        pairs = list(_label_lines(path))
    labels: dict[str, str] = {}
    for where, name, letter in pairs:
        if name in labels:
            raise DataError(f"{where}: {name!r} has a label already")
        labels[name] = letter.strip().lower()
    if not labels:
        raise DataError(f"{path}: holds no labels")
    return labels


def _label_lines(path: Path) -> Iterator[tuple[str, str, str]]:
    for number, line in read_lines(path):
        cells = [cell.strip(' "\t') for cell in line.split("," if path.suffix == ".csv" else None)]
        where = f"{path}: line {number}"
        if len(cells) != 2:
            raise DataError(f"{where}: expected a folder and a letter, such as 'exp-1 c', found {line[:60]!r}")
        if number == 1 and not re.search(r"\d", cells[0]):
            continue  # a header
        yield where, cells[0], cells[1]


def read_iq50(data: Path, folder: Path) -> Iterator[Sample]:
    """The puzzles of a folder of `exp-N` folders, in the order of N."""
    labels, rationales = read_labels(folder), read_rationales(folder)
    names = experiments(folder)
    if unlabelled := [n for n in names if n not in labels]:
        raise DataError(f"{folder / unlabelled[0]}: the labels file does not name its right answer")
    if missing := [n for n in labels if n not in names]:
        raise DataError(f"{folder}: the labels file names {missing[0][:60]!r}, which is no folder here")
    if lost := [n for n in rationales if n not in names]:
        raise DataError(f"{folder}: a rationale is for {lost[0][:60]!r}, which is no folder here")
    for name in names:
        queries, answers = _iq50_panels(data, folder / name)
        if labels[name] not in answers:
            raise DataError(
                f"{folder / name}: label {labels[name][:20]!r} is none of its candidates {', '.join(answers)}"
            )
        yield puzzle(name, queries, answers, labels[name], rationales.get(name))


def experiments(folder: Path) -> list[str]:
    """Names of the `exp-N` folders, by number."""
    names = [p.name for p in folder.glob("exp-*") if p.is_dir()]
    return sorted(names, key=lambda n: [int(m[2]) for m in _NUMBERED.finditer(n)] or [0])


def _iq50_panels(data: Path, folder: Path) -> tuple[list[Image], dict[str, Image]]:
    found: dict[str, dict[str, Image]] = {"query": {}, "answer": {}}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        match = _PANEL.fullmatch(path.name)
        if match is None or path.is_dir() or match["name"].isdecimal() != (match["kind"] == "query"):
            raise DataError(f"{path}: not a panel; expected query-1.png and on, answer-a.png and on")
        found[match["kind"]][match["name"]] = ref(data, path.relative_to(data).as_posix())
    queries, answers = found["query"], found["answer"]
    _check_run(folder, "query", list(queries), [str(k) for k in range(1, len(queries) + 1)], MAX_PANELS)
    _check_run(folder, "answer", list(answers), list(LETTERS[: len(answers)]), len(LETTERS))
    return [queries[str(k)] for k in range(1, len(queries) + 1)], answers


def _check_run(folder: Path, kind: str, names: Sequence[str], expected: Sequence[str], most: int) -> None:
    """Panels must be numbered without a gap: a missing one would be a different puzzle."""
    if not 2 <= len(names) <= most:
        raise DataError(f"{folder}: has {len(names)} {kind} images; a puzzle has 2 to {most}")
    if gap := [n for n in expected if n not in names]:
        raise DataError(f"{folder}: {kind}-{gap[0]}.png is missing")


# --- RAVEN's .npz -----------------------------------------------------------------------------------------------------


def npz_files(root: Path) -> dict[str, list[Path]]:
    """`{config}/RAVEN_{id}_{split}.npz` at any depth, by split, in a natural order."""
    splits: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*.npz"), key=lambda p: [(m[1], int(m[2])) for m in _NUMBERED.finditer(str(p))]):
        match = _NPZ_NAME.fullmatch(path.stem)
        if match is None:
            raise DataError(f"{path}: expected a name such as RAVEN_0_train.npz, which says the split")
        splits.setdefault(match["split"], []).append(path)
    return splits


def read_npz(data: Path, root: Path, path: Path, rationales: Mapping[str, str]) -> Sample:
    """One puzzle; its id is the path below `root` without suffix."""
    shape, target = read_array(path, "image").shape, read_array(path, "target")
    if len(shape) != 3 or shape[0] != NPZ_PANELS or read_array(path, "image").dtype != "uint8":
        raise DataError(f"{path}: array 'image' is {shape}, not {NPZ_PANELS} grey panels in uint8")
    candidates = NPZ_PANELS - CONTEXT_PANELS
    if target.size != 1 or target.dtype.kind not in "iu" or not 0 <= int(target.item()) < candidates:
        raise DataError(f"{path}: array 'target' is not one whole number in 0..{candidates - 1}")
    name = path.relative_to(data).as_posix()
    panels = [ref(data, name, f"image/{k}") for k in range(NPZ_PANELS)]
    puzzle_id = path.relative_to(root).with_suffix("").as_posix()
    named = {str(k): panel for k, panel in enumerate(panels[CONTEXT_PANELS:])}
    return puzzle(puzzle_id, panels[:CONTEXT_PANELS], named, str(int(target.item())), rationales.get(puzzle_id))


# --- an index of panel images -----------------------------------------------------------------------------------------


def indexed_puzzle(data: Path, record: Record, rationales: Mapping[str, str]) -> Sample:
    """A line of `index.jsonl`: `id`, `split`, `context` and `candidates` (paths), `target` (from 0)."""
    puzzle_id, rationale = record.identifier("id"), None
    images: dict[str, list[Image]] = {}
    for key in ("context", "candidates"):
        names = record.texts(key)
        if not 2 <= len(names) <= MAX_PANELS:
            raise record.error(f"field {key!r} has {len(names)} images; a puzzle has 2 to {MAX_PANELS}")
        try:
            images[key] = [ref(data, name) for name in names]
        except DataError as error:
            raise record.error(str(error)) from None
    target = record.integer("target", 0, len(images["candidates"]) - 1)
    rationale = record.line("rationale") if record.has("rationale") else rationales.get(puzzle_id)
    named = {str(k): image for k, image in enumerate(images["candidates"])}
    return puzzle(puzzle_id, images["context"], named, str(target), rationale)


# --- the task ---------------------------------------------------------------------------------------------------------


class PuzzleTask(Task):
    """Reads what is there: `index.jsonl`, else `exp-N` folders (here or in a folder per split), else .npz files."""

    iq50_splits = ("train", "val", "test")

    @cached_property
    def index(self) -> Mapping[str, list[Record]]:
        """The lines of the index by split."""
        path = self.data / "index.jsonl"
        splits: dict[str, list[Record]] = {}
        if path.exists():
            for record in by_id(read_jsonl(path), "id").values():
                splits.setdefault(record.text("split"), []).append(record)
        return splits

    @cached_property
    def iq50(self) -> Mapping[str, Path]:
        """Folders of `exp-N` folders by split; IQ50 itself is one set of 50, to be tested on."""
        if experiments(self.data):
            return {"test": self.data}
        return {s: self.data / s for s in self.iq50_splits if experiments(self.data / s)}

    @property
    def npz_root(self) -> Path:
        inner = self.data / "npz"
        return inner if inner.is_dir() else self.data

    @cached_property
    def npz(self) -> Mapping[str, list[Path]]:
        return npz_files(self.npz_root)

    def available_splits(self) -> list[str]:
        return list(self.index or self.iq50 or self.npz)

    def expected_counts(self) -> Mapping[str, int]:
        return self.official_counts if self.iq50 else {}

    def read(self, data: Path, split: str) -> Iterator[Sample]:
        if self.index:
            rationales = read_rationales(data)
            yield from (indexed_puzzle(data, record, rationales) for record in self.index[split])
        elif self.iq50:
            yield from read_iq50(data, self.iq50[split])
        else:
            rationales = read_rationales(data)
            yield from (read_npz(data, self.npz_root, path, rationales) for path in self.npz[split])
