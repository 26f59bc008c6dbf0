"""What else evaluations need: packages, Java, fonts, a GPU, data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from kosmos_eval.disk import discreet
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.examination.report import Finding

PACKAGE = "kosmos-eval"
EXTRAS = ("lm-eval", "hub")
FONT = "DejaVuSans"


def surroundings(data: str = "mini") -> Iterator[Finding]:
    """Everything that is looked for; `data` is `mini`, or a folder that holds <task>/."""
    yield _gpu()
    yield from _packages()
    yield _java()
    yield _meteor()
    yield _spice()
    yield _fonts()
    yield from _data(data)


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        p = torch.cuda.get_device_properties(0)
        return Finding(name="gpu", there=True, about=f"{p.name}, {p.total_memory / 2**30:.0f} GiB")
    about = f"none that torch {torch.__version__} can use; the CPU with {torch.get_num_threads()} threads"
    advice = "runs go to the CPU; with a GPU, install torch for CUDA (pytorch.org)"
    if shutil.which("nvidia-smi"):
        advice = "a driver is there (nvidia-smi), but this torch cannot use it: install one for CUDA (pytorch.org)"
    return Finding(name="gpu", there=False, about=about, advice=advice)


def _packages() -> Iterator[Finding]:
    needed = [Requirement(line) for line in requires(PACKAGE) or ()]
    for extra in ("", *EXTRAS):
        wanted = [r for r in needed if _of_extra(r, extra)]
        wrong = [f"{r.name} {_installed(r.name) or 'missing'} (needs {r.specifier})" for r in wanted if not _met(r)]
        name, package = ("packages", PACKAGE) if not extra else (f"packages for {extra}", f"{PACKAGE}[{extra}]")
        about = ", ".join(wrong) or f"all {len(wanted)} as required"
        yield Finding(name=name, there=not wrong, about=about, advice=f"pip install '{package}'" if wrong else "")


def _of_extra(requirement: Requirement, extra: str) -> bool:
    """Whether it is one of the extra's own; of none, for the empty name."""
    marker = requirement.marker
    plain = marker is None or marker.evaluate({"extra": ""})
    return plain if not extra else not plain and marker is not None and marker.evaluate({"extra": extra})


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _met(requirement: Requirement) -> bool:
    found = _installed(requirement.name)
    return found is not None and requirement.specifier.contains(found, prereleases=True)


def _java() -> Finding:
    from kosmos_eval.metrics.java import find_java

    try:
        return Finding(name="java", there=True, about=discreet(find_java()))
    except KosmosEvalError as error:
        return Finding(name="java", there=False, about="none that works", advice=str(error))


def _meteor() -> Finding:
    from kosmos_eval.metrics.java import package_folder
    from kosmos_eval.metrics.meteor import JAR

    name = "METEOR"
    try:
        jar = package_folder("meteor") / JAR
    except KosmosEvalError as error:
        return Finding(name=name, there=False, about="not installed", advice=str(error))
    there = jar.is_file()
    return Finding(name=name, there=there, about=JAR if there else f"{JAR} is missing",
                   advice="" if there else "pip install --force-reinstall pycocoevalcap==1.2")  # fmt: skip


def _spice() -> Finding:
    from kosmos_eval.metrics.spice import missing_models

    try:
        missing = missing_models()
    except KosmosEvalError as error:
        return Finding(name="SPICE", there=False, about="not installed", advice=str(error))
    if not missing:
        return Finding(name="SPICE", there=True, about="its models are there; it wants Java 8 and 8 GB")
    advice = "only for SPICE: python -m pycocoevalcap.spice.get_stanford_models (400 MB)"
    return Finding(name="SPICE", there=False, about=f"{missing[0].name} is missing", advice=advice)


def _fonts() -> Finding:
    from kosmos_eval.data.render_text import load_font

    try:
        load_font(FONT, 12)
    except (KosmosEvalError, OSError) as error:
        return Finding(name="fonts", there=False, about=str(error), advice="pip install --force-reinstall matplotlib")
    return Finding(name="fonts", there=True, about=f"{FONT}, of matplotlib")


def _data(data: str) -> Iterator[Finding]:
    if data == "mini":
        yield from _mini()
        return
    from kosmos_eval.api import data_folder, task_over
    from kosmos_eval.data.check import check
    from kosmos_eval.plugins import all_tasks

    for name, task in sorted(all_tasks().items()):
        folder = data_folder(name, data)
        if folder == Path(data):
            yield Finding(name=name, there=False, about="no folder", advice=f"{folder / name}: {task.layout}")
            continue
        report = check(*task_over(task, data), decode=False)
        about = "; ".join(f"{s.split}: {s.note}" for s in report.splits if s.note != "not there")
        advice = "" if report.usable else f"kosmos-eval data check {name} --data {data}"
        yield Finding(name=name, there=report.usable, about=about or "no split is there", advice=advice)


def _mini() -> Iterator[Finding]:
    from kosmos_eval.data.mini.cache import MARKER, MINI_TASKS, mini_folder

    for task in MINI_TASKS:
        folder = mini_folder(task)
        there = (folder / MARKER).is_file()
        advice = "" if there else f"made on first use, or by: kosmos-eval data mini {task}"
        yield Finding(name=f"mini {task}", there=there, about=discreet(folder), advice=advice)
