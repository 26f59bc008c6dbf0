"""`plugin check`: everything that is wrong with a plugin, at once, before it is published or run."""

from __future__ import annotations

import ast
import inspect
import math
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

from kosmos_eval.errors import KosmosEvalError, UsageError
from kosmos_eval.metrics.accuracy import Accuracy
from kosmos_eval.plugins import GROUP, home_of, import_file, offered, registry, task_files
from kosmos_eval.task import Task
from kosmos_eval.template import CandidateSpec, PromptFile, Template

_NAME = re.compile(r"[a-z][a-z0-9_]*")
LIMIT = 16
"""Samples that a scripted model is asked about; all are read."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong (`error`: the plugin will not work) or doubtful (`warning`), and where."""

    level: Literal["error", "warning"]
    where: str
    message: str


@dataclass(slots=True)
class Report:
    """What was looked at and found."""

    tasks: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        return bool(self.tasks) and not any(f.level == "error" for f in self.findings)

    def error(self, where: str, message: str) -> None:
        self.findings.append(Finding("error", where, message))

    def warning(self, where: str, message: str) -> None:
        self.findings.append(Finding("warning", where, message))

    @contextmanager
    def noting(self, where: str) -> Iterator[None]:
        """Whatever is raised inside is an error of the report; the check goes on behind it."""
        try:
            yield
        except KosmosEvalError as error:
            self.error(where, str(error))
        except (Exception, SystemExit) as error:
            self.error(where, " ".join(f"{type(error).__name__}: {error}".split())[:300])


def check_plugin(path: Path, data: Path | None = None) -> Report:
    """Checks a task file, a folder of them, or a package with a pyproject.toml; with `data` also what it reads.

    Raises UsageError where there is nothing to check.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    report = Report()
    for cls in _classes(path, report):
        report.tasks.append(str(getattr(cls, "name", cls.__name__)))
        _check_class(cls, report)
        prompts = _check_prompts(cls, path, report)
        if data is not None and prompts is not None:
            _check_data(cls, prompts, data, report)
    if not report.tasks and not report.findings:
        report.error(str(path), "defines no subclass of kosmos_eval.Task with a name")
    for name in {n for n in report.tasks if report.tasks.count(n) > 1}:
        report.error(str(path), f"two classes have the name {name!r}")
    return report


# --- finding the classes ----------------------------------------------------------------------------------------------


def _classes(path: Path, report: Report) -> Iterator[type[Task]]:
    if (path / "pyproject.toml").is_file():
        yield from _packaged(path, report)
        return
    for file in [path] if path.is_file() else task_files(path):
        with report.noting(str(file)):
            yield from import_file(file)


def _packaged(path: Path, report: Report) -> Iterator[type[Task]]:
    """The classes that a package's entry points name."""
    project: dict[str, Any] = {}
    with report.noting(str(path / "pyproject.toml")):
        project = tomllib.loads((path / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    points = project.get("entry-points", {}).get(GROUP, {})
    if not points:
        report.error(str(path / "pyproject.toml"), f'no entry points: add [project.entry-points."{GROUP}"]')
    source = str(path / "src" if (path / "src").is_dir() else path)
    sys.path.insert(0, source)
    try:
        for name, value in points.items():
            with report.noting(f"{path / 'pyproject.toml'}: {name}"):
                yield offered(EntryPoint(name, value, GROUP))
    finally:
        sys.path.remove(source)


# --- a class ----------------------------------------------------------------------------------------------------------


def _check_class(cls: type[Task], report: Report) -> None:
    from kosmos_eval.metrics import ExactMatch, MajorityBaseline, Metric

    where = f"class {cls.__name__}"
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        report.error(where, f"name {name!r}: use lower-case letters, digits and underscores, as in 'my_task'")
    elif name in (known := registry()).tasks and known.tasks[name].__qualname__ != cls.__qualname__:
        report.error(where, f"name {name!r} is taken by {known.origins[name]}")
    if missing := sorted(cls.__abstractmethods__):
        report.error(where, f"does not implement {', '.join(missing)}")
    _check_answers(cls, where, report)
    if not isinstance(cls.splits, Mapping) or not isinstance(cls.splits.get("eval"), str):
        report.error(where, "splits: a mapping with 'eval', the split that is evaluated, and 'demos'")
    elif "demos" not in cls.splits:
        report.warning(where, "splits has no 'demos': demonstrations will come from the evaluated split")
    if not isinstance(cls.metrics, tuple) or not all(isinstance(m, Metric) for m in cls.metrics):
        report.error(where, "metrics: a tuple of metrics, as in (Accuracy(),)")
    elif not cls.metrics:
        report.error(where, "metrics is empty: nothing would be scored")
    elif isinstance(cls.metrics[0], ExactMatch) and MajorityBaseline() in cls.metrics:
        report.warning(where, "MajorityBaseline() is too low beside ExactMatch: MajorityBaseline(normalised=True)")
    if not cls.layout:
        report.warning(where, "layout is empty: `data check` cannot say where the files go")
    _check_imports(cls, report)


def _check_answers(cls: type[Task], where: str, report: Report) -> None:
    if not isinstance(cls.answers, tuple) or not all(isinstance(a, str) for a in cls.answers):
        report.error(where, 'answers: a tuple of texts, as in (" yes", " no"); a tuple of one needs its comma')
        return
    if len(set(cls.answers)) != len(cls.answers):
        report.error(where, f"answers has one twice: {', '.join(map(repr, cls.answers))}")
    for answer in cls.answers:
        if not answer.startswith(" ") or answer != " " + answer.strip():
            report.error(where, f"answer {answer!r}: answers are appended verbatim; write {' ' + answer.strip()!r}")


def _check_imports(cls: type[Task], report: Report) -> None:
    import kosmos_eval

    with report.noting(f"class {cls.__name__}"):
        file = Path(inspect.getfile(cls))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kosmos_eval."):
                public = [a.name for a in node.names if a.name in kosmos_eval.__all__]
                hint = f"; `from kosmos_eval import {', '.join(public)}`" if public else ""
                report.warning(f"{file}: line {node.lineno}", f"imports from {node.module}, which may change{hint}")


# --- prompts ----------------------------------------------------------------------------------------------------------


def _check_prompts(cls: type[Task], path: Path, report: Report) -> PromptFile | None:
    name = str(getattr(cls, "name", ""))
    home = home_of(cls) or path
    file = home / f"{name}.yaml"
    if not file.is_file():
        report.error(str(file), "no prompts: a task needs a YAML file named like it, beside its own")
        return None
    good: dict[str, Any] = {}
    with report.noting(str(file)):
        for prompt, found in PromptFile.read_each(file):
            if isinstance(found, KosmosEvalError):
                report.error(str(file), str(found).removeprefix(f"{file}: "))
                continue
            good[prompt] = found
            _check_endings(found, f"{file}: {prompt}", report)
    if good and "standard" not in good:
        report.warning(str(file), "has no prompt 'standard', which is what is run by default")
    return PromptFile(file, good) if good else None


def _check_endings(template: Template, where: str, report: Report) -> None:
    if template.demo.rstrip().endswith(":"):
        report.warning(where, "demo ends in a colon, so demonstrations show no answer; end it with {{ answer }}")
    for stage in template.stages:
        if stage.scores_answers and stage.ask.endswith(" "):
            report.warning(where, f"ask ends in a blank, and answers begin with one: {stage.ask[-20:]!r}")


# --- data -------------------------------------------------------------------------------------------------------------


def _check_data(cls: type[Task], prompts: PromptFile, data: Path, report: Report) -> None:
    from kosmos_eval.data.check import check

    where = f"{data}"
    with report.noting(where):
        looked = check(cls, data)
        for split in looked.splits:
            for line in split.unreadable[:5]:
                report.error(f"{where}: {split.split}", line)
            if split.error is not None:
                report.error(f"{where}: {split.split}", split.error)
        if any(split.error is not None for split in looked.splits):
            return
        task = cls(data)
        _check_samples(task, prompts, report)
        for prompt in prompts.templates:
            for shots in (0, 2):
                _check_run(task, prompts, prompt, shots, report)


def _check_samples(task: Task, prompts: PromptFile, report: Report) -> None:
    """What every sample must hold; one finding a kind, with the first sample that has it."""
    scored = any(t.stages[-1].scores_answers for t in prompts.templates.values())
    showing = any("answer" in t.demo for t in prompts.templates.values())
    weighed = any(isinstance(t.stages[-1].score, CandidateSpec) for t in prompts.templates.values())
    places = max(map(_places, prompts.templates.values()))
    seeing = any("<image" in text for t in prompts.templates.values() for text in t.texts)
    to_the_letter = any(isinstance(metric, Accuracy) for metric in task.metrics)
    found: dict[str, str] = {}
    for s in task.samples:
        answers = {*(c.name for c in s.choices), *task.answers}
        targets = {str(t) for t in (s.target if isinstance(s.target, list | tuple) else [s.target])}
        if not to_the_letter:
            answers, targets = {a.strip() for a in answers}, {t.strip() for t in targets}
        wrong = {
            "id is not a text": not isinstance(s.id, str),
            "has no image, which a prompt shows": seeing and not s.images,
            "has more images than any prompt shows; put <image> or <images> where they belong":
            len(s.images) > places,
            "answer is empty: a demonstration would show none": not s.answer and s.target is not None and showing,
            "answer does not begin with one space": bool(s.answer) and s.answer != " " + s.answer.strip(),
            "a prompt scores answers, but neither the class nor the sample lists any": scored and not answers,
            f"target is none of the answers {task.answers}": scored and s.target is not None and bool(answers)
            and not targets & answers,
            "target is none of its candidates": weighed and s.target is not None and s.target not in s.candidates,
        }  # fmt: skip
        for message, is_so in wrong.items():
            if is_so:
                found.setdefault(message, str(s.id))
    for message, sample_id in found.items():
        report.error(f"{task.data}: sample {sample_id!r}", message)


def _places(template: Template) -> float:
    """How many of a sample's images a prompt shows at most."""
    asked = "".join(stage.ask for stage in template.stages)
    return math.inf if "<images>" in asked or "{%" in asked else asked.count("<image>")


def _check_run(task: Task, prompts: PromptFile, prompt: str, shots: int, report: Report) -> None:
    """A run by a scripted model: does the plan render, and do the metrics take what comes back?"""
    from kosmos_eval.cell import Cell
    from kosmos_eval.models.fake import FakeModel
    from kosmos_eval.run import run

    where = f"{prompts.path.name}: {prompt}, {shots}-shot"
    with report.noting(where), tempfile.TemporaryDirectory(prefix="kosmos-eval-") as scratch:
        cell = Cell.of(task, prompts, prompt, shots=shots, limit=LIMIT)
        done = run(cell, FakeModel(), Path(scratch))
        for score in (done.folder.scores() or {"scores": []})["scores"]:
            if score["primary"] and score["value"] is None:
                report.warning(where, f"{score['metric']} is undefined: {score['reason']}")
