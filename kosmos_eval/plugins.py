"""Finds tasks and prompts. One loader for the built-in ones and for a user's own folder."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from functools import cache
from pathlib import Path

from kosmos_eval.errors import KosmosEvalError, UsageError, nearest
from kosmos_eval.task import Task
from kosmos_eval.template import PromptFile


@cache
def builtin_root() -> Path:
    """Where `tasks/`, `prompts/` and `results/` lie: inside a wheel's package, or beside it in a checkout."""
    package = Path(__file__).parent
    packed = package / "_builtin"
    return packed if packed.is_dir() else package.parent


def _import_file(path: Path) -> list[type[Task]]:
    """The Task subclasses that one file defines. The file is run by path, never as a top-level package."""
    module_name = f"_kosmos_eval_task_{path.parent.name}_{path.stem}_{abs(hash(path.resolve()))}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and typing look their module up
    try:
        spec.loader.exec_module(module)
    except KosmosEvalError:
        raise
    except Exception as error:
        raise UsageError(f"{path}: the task file does not import ({type(error).__name__}: {error})") from error
    classes = [v for v in vars(module).values() if inspect.isclass(v) and v.__module__ == module_name]
    return [c for c in classes if issubclass(c, Task) and hasattr(c, "name")]


def load_tasks(folder: Path) -> dict[str, type[Task]]:
    """The tasks of a folder of plugin files, by name; two of one name are an error that names both files."""
    found: dict[str, type[Task]] = {}
    origin: dict[str, Path] = {}
    for path in sorted(folder.glob("*.py")):
        if path.name.startswith("_"):
            continue
        for cls in _import_file(path):
            if cls.name in found:
                raise UsageError(f"task {cls.name!r} is defined in both {origin[cls.name]} and {path}")
            found[cls.name], origin[cls.name] = cls, path
    return found


@cache
def all_tasks(tasks_dir: Path | None = None) -> dict[str, type[Task]]:
    """Built-in tasks and those of `tasks_dir`; a name that is taken is an error."""
    tasks = dict(load_tasks(builtin_root() / "tasks"))
    if tasks_dir is None:
        return tasks
    if not tasks_dir.is_dir():
        raise UsageError(f"--tasks-dir {tasks_dir}: no such folder")
    for name, cls in load_tasks(tasks_dir).items():
        if name in tasks:
            raise UsageError(f"task {name!r} of {tasks_dir} has the name of a built-in task: rename it")
        tasks[name] = cls
    return tasks


def task_class(name: str, tasks_dir: Path | None = None) -> type[Task]:
    """A task by name; the error for an unknown one gives the nearest right name."""
    tasks = all_tasks(tasks_dir)
    if name not in tasks:
        raise UsageError(f"no task {name!r}{nearest(name, tasks)}")
    return tasks[name]


def prompt_file(task: str, prompts: Path | None = None, tasks_dir: Path | None = None) -> PromptFile:
    """The templates of a task.

    `prompts` is a YAML file, or a folder with `<task>.yaml`; without it, a file beside the task plugin of `tasks_dir`,
    then the built-in one.
    """
    if prompts is not None and prompts.is_file():
        return PromptFile.read(prompts)
    folders = [prompts] if prompts is not None else [tasks_dir, builtin_root() / "prompts"]
    for folder in folders:
        if folder is not None and (folder / f"{task}.yaml").is_file():
            return PromptFile.read(folder / f"{task}.yaml")
    looked = ", ".join(str(f / f"{task}.yaml") for f in folders if f is not None)
    raise UsageError(f"no prompts for task {task!r}: looked for {looked}")
