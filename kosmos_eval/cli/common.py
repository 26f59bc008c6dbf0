"""What all commands share: options, parsing of lists, and how errors are told."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, ParamSpec, TypeVar

import typer

from kosmos_eval.errors import KosmosEvalError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from kosmos_eval.executor import Engine
    from kosmos_eval.task import Task

P = ParamSpec("P")
R = TypeVar("R")

FAULT, INTERRUPTED = 2, 130
PIPE_WIDTH = 120

Data = Annotated[str, typer.Option(help="`mini` (generated, bundled), a folder of official files, or `hub[:SOURCE]`.")]
Split = Annotated[str | None, typer.Option(help="Which split is evaluated; each task has its own default.")]
TasksDir = Annotated[Path | None, typer.Option(help="A folder with task plugins of your own.")]
Prompts = Annotated[Path | None, typer.Option(help="A prompts YAML, or a folder with <task>.yaml, of your own.")]
Demos = Annotated[str, typer.Option(help="How demonstrations are chosen: fixed, random or balanced.")]
Limit = Annotated[int | None, typer.Option(help="So many samples, drawn by the seed, each label in its share.")]
EngineName = Annotated[
    Literal["local", "processes", "ray"],
    typer.Option(help="Who asks the model: this process, several on this machine's cores, or Ray (docs/scale.md)."),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="With --engine ray: a cluster, host:port or `auto`; else one is started here.", envvar="RAY_ADDRESS"
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(help="With --engine processes or ray: how many replicas; else as many as there is room for.", min=1),
]
HangTimeout = Annotated[
    float | None, typer.Option(help="With --engine ray: seconds without an answer until a worker is replaced.", min=1)
]


def reporting(command: Callable[P, R]) -> Callable[P, R]:
    """Turns an error a user can mend into one line and exit code 2, an interruption into how to go on and 130."""

    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KosmosEvalError as error:
            fail(str(error))
            raise typer.Exit(FAULT) from None
        except OSError as error:  # an --out that cannot be written, a full disk
            if error.errno == errno.EPIPE:
                raise  # `| head` has seen enough
            fail(f"{error.filename or 'a file'}: {error.strerror or error}")
            raise typer.Exit(FAULT) from None
        except KeyboardInterrupt:
            fail("interrupted; what was answered is kept: the same command goes on from there", "note")
            raise typer.Exit(INTERRUPTED) from None

    return wrapper


def fail(message: str, kind: str = "error") -> None:
    """One line on stderr, whatever the message holds."""
    print(f"{kind}: {printable(' '.join(message.split()))}", file=sys.stderr)


def printable(text: str) -> str:
    """Text from data or files, with everything out of it that would steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


def engine_of(engine: str, address: str | None, workers: int | None, hang_timeout: float | None) -> Engine:
    """Where models are asked. Raises UsageError for options that the engine does not have."""
    if engine == "ray":
        from kosmos_eval.scale.dispatch import PATIENCE
        from kosmos_eval.scale.ray_executor import on_ray

        return on_ray(address, workers, hang_timeout or PATIENCE)
    if hang_timeout is not None:
        raise UsageError("--hang-timeout is for --engine ray")
    if engine == "processes":
        from kosmos_eval.scale.processes import in_processes

        return in_processes(workers)
    from kosmos_eval.executor import in_process

    if workers is not None:
        raise UsageError("--workers is for --engine processes or ray")
    return in_process


def names(text: str, option: str) -> list[str]:
    """A comma-separated list, each name once."""
    found = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise UsageError(f"{option} {text!r}: give at least one name")
    return found


def numbers(text: str, option: str) -> list[int]:
    """A comma-separated list of whole numbers, each once."""
    try:
        return [int(name) for name in names(text, option)]
    except ValueError:
        raise UsageError(f"{option} {text!r}: give whole numbers, separated by commas") from None


def load_tasks(wanted: list[str], data: str, split: str | None, tasks_dir: Path | None) -> list[Task]:
    """Tasks over their data. `all` is every built-in task that has data; one folder for several tasks holds <task>/."""
    from kosmos_eval.api import load_task
    from kosmos_eval.plugins import task_class

    wanted = names_with_data(names(",".join(wanted), "tasks"), data)  # `a b` and, as options have it, `a,b`
    for name in wanted:
        task_class(name, tasks_dir)
    if data == "mini":
        make_mini(wanted)
    return [load_task(name, data, split, tasks_dir) for name in wanted]


def make_mini(wanted: Sequence[str]) -> None:
    """Generates the mini suite's data of the tasks; it takes some seconds, once."""
    from kosmos_eval.data.mini import MINI_TASKS, ensure_several

    with console(stderr=True).status("generating the mini suite"):
        ensure_several([name for name in wanted if name in MINI_TASKS])


def names_with_data(wanted: list[str], data: str) -> list[str]:
    """The names; of `all` alone, those of every built-in task that has data."""
    if wanted != ["all"]:
        return wanted
    from kosmos_eval.api import built_in_tasks, has_data

    found = [name for name in built_in_tasks() if has_data(name, data)]
    if not found:
        raise UsageError(f"{data}: `all` looks for a folder per task in it, such as {data}/vqav2; there is none")
    return found


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    screen = Console(stderr=stderr, highlight=False)
    # A pipe or a file has no edge at 80 characters, where tables would be cut.
    return screen if screen.is_terminal else Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)
