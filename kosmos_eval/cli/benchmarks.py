"""`kosmos-eval tasks` and `kosmos-eval preview`: what there is, and what a model would be asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from kosmos_eval.cli.common import (
    Data,
    Demos,
    Prompts,
    Split,
    TasksDir,
    console,
    fail,
    names,
    printable,
    reporting,
)

if TYPE_CHECKING:
    from rich.text import Text

    from kosmos_eval.preview import Budget, Encoder, Preview
    from kosmos_eval.prompt import Segment
    from kosmos_eval.request import Stage


@reporting
def tasks(tasks_dir: TasksDir = None) -> None:
    """Lists the tasks, their prompts, splits and metrics.

    Example: kosmos-eval tasks --tasks-dir my_tasks
    """
    from rich.table import Table

    from kosmos_eval.errors import KosmosEvalError
    from kosmos_eval.plugins import prompt_file, registry

    found = registry(tasks_dir)
    faults = list(found.faults.values())
    table = Table("task", "prompts", "evaluates", "demonstrations", "metrics")
    for name, cls in sorted(found.tasks.items()):
        try:
            prompts = ", ".join(prompt_file(name, None, tasks_dir).templates)
        except KosmosEvalError as error:
            prompts = "–"
            faults.append(str(error))
        metrics = ", ".join(metric.name for metric in cls.metrics)
        splits = cls.splits
        table.add_row(*map(printable, (name, prompts, splits.get("eval", ""), splits.get("demos", ""), metrics)))
    console().print(table)
    for fault in faults:
        fail(fault, "warning")


@reporting
def preview(
    task: Annotated[str, typer.Argument(help="The task's name.")],
    prompt: Annotated[str, typer.Option(help="Prompt names, separated by commas.")] = "standard",
    shots: Annotated[int, typer.Option(help="Number of demonstrations.")] = 0,
    data: Data = "mini",
    sample: Annotated[str | None, typer.Option(help="A sample's id; the first one by default.")] = None,
    demos: Demos = "fixed",
    seed: Annotated[int, typer.Option(help="Seed of the demonstrations.")] = 0,
    split: Split = None,
    model: Annotated[str, typer.Option(help="Whose tokenizer counts; no weights are read.")] = "kosmos-mini",
    tasks_dir: TasksDir = None,
    prompts: Prompts = None,
) -> None:
    """Shows the rendered prompt of one sample: texts, images and the token budget. Needs no weights.

    Example: kosmos-eval preview rendered_sst2 --prompt mcot --shots 2
    """
    from kosmos_eval.api import load_task
    from kosmos_eval.cell import Cell
    from kosmos_eval.plugins import prompt_file
    from kosmos_eval.preview import preview as preview_of

    loaded = load_task(task, data, split, tasks_dir)
    templates = prompt_file(task, prompts, tasks_dir)
    cells = [
        Cell.of(loaded, templates, name, shots=shots, demos=demos, seed=seed) for name in names(prompt, "--prompt")
    ]
    encoder = _encoder(model)
    screen = console()
    for cell in cells:
        for line in _lines(preview_of(cell, sample, encoder)):
            screen.print(line, soft_wrap=True)


def _encoder(model: str) -> Encoder | None:
    """The model's processor; None, hence an estimate, for other families and where the bundled model is absent."""
    from kosmos_eval.models import backend_of
    from kosmos_eval.models.locate import BUNDLED, bundled, locate

    if backend_of(model)[0] or model == "fake":
        return None
    if model in BUNDLED and not (bundled(model) / "config.json").is_file():
        return None
    folder = locate(model, weights=False).folder
    from kosmos_eval.kosmos.processor import Processor

    return Processor.load(folder)


def _lines(shown: Preview) -> Iterable[Text]:
    from rich.text import Text

    cell, asked = shown.cell, shown.request
    yield Text(printable(f"{cell.title}, sample {asked.id}"), "bold")
    yield Text(printable(f"wording: {cell.template.source}"), "dim")
    if shown.demos:
        yield Text(printable(f"demonstrations: {', '.join(shown.demos)}"), "dim")
        yield _written(asked.context)
    for number, stage in enumerate(asked.stages, start=1):
        how = stage.context if number > 1 else "start"
        image = "without images" if stage.image == "drop" else "with images"
        yield Text(f"stage {number} ({stage.name}, {how}, {image}):", "bold cyan")
        yield _written(stage.segments)
        yield _act(stage)
    yield Text(f"answer: {printable(str(shown.sample.target))}", "dim")
    yield _budget(shown.budget)


def _written(segments: Iterable[Segment]) -> Text:
    from rich.text import Text

    from kosmos_eval.prompt import Image, describe

    line = Text()
    for segment, (kind, content) in zip(segments := list(segments), describe(segments), strict=True):
        match kind:
            case "image" if isinstance(segment, Image):
                line.append(f"[image {printable(content)}{_size(segment)}]", "magenta")
            case "output":
                line.append(f"⟨{content}⟩", "yellow")
            case "text":
                line.append(printable(content))
            case _:
                line.append(printable(content), "blue")
    return line


def _size(image: object) -> str:
    from kosmos_eval.data.images import load
    from kosmos_eval.errors import ImageError
    from kosmos_eval.prompt import Image

    assert isinstance(image, Image)
    try:
        width, height = load(image).size
    except ImageError as error:
        return f": {printable(str(error))}"
    return f" {width}x{height}"


def _act(stage: Stage) -> Text:
    from rich.text import Text

    from kosmos_eval.request import Generate

    act = stage.act
    if isinstance(act, Generate):
        how = "greedy" if act.beams == 1 else f"{act.beams} beams"
        stop = f", stops at {', '.join(map(repr, act.stop))}" if act.stop else ""
        return Text(printable(f"→ writes up to {act.max_tokens} tokens, {how}{stop}"), "green")
    weighed = []
    for choice in act.choices:
        before = _written(choice.segments).plain
        weighed.append(f"{before}{choice.target!r}")
    return Text(printable(f"→ weighs {', '.join(weighed)}"), "green")


def _budget(found: Budget) -> Text:
    from rich.text import Text

    about = "" if found.exact else "about "
    room = f" and up to {found.generated} written" if found.generated else ""
    verdict = "" if found.fits else ": does not fit"
    text = f"tokens: {about}{found.given} asked ({found.images} images){room}, of {found.positions}{verdict}"
    return Text(text, "bold" if found.fits else "bold red")


__all__ = ["preview", "tasks"]
