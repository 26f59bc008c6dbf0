"""Finds tasks and prompts: the built-in ones, those of installed packages, and those of a user's own folder.

A package offers tasks by entry points of the group `kosmos_eval.tasks`, each named like its task: `fruit =
"my_package.fruit:Fruit"`. A plugin that is broken, or claims a name that is taken, is a fault; the other tasks work.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from kosmos_eval.errors import KosmosEvalError, UsageError, nearest
from kosmos_eval.task import Task
from kosmos_eval.template import PromptFile

GROUP = "kosmos_eval.tasks"


@dataclass(frozen=True, slots=True)
class Registry:
    """Tasks by name, who offers each, and what is wrong with plugins.

    A fault's key is the name that cannot be used for it, or else the file or package at fault.
    """

    tasks: dict[str, type[Task]] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, task: type[Task], origin: str, fault: str | None = None) -> None:
        """Adds a task. Where its name is taken, that is a fault that names both, under the key `fault` or the name."""
        if name in self.tasks:
            taken = f"task {name!r} of {origin} has the name of a task of {self.origins[name]}: rename it"
            self.faults[fault or name] = taken
        else:
            self.tasks[name], self.origins[name] = task, origin


@cache
def builtin_root() -> Path:
    """Where `tasks/`, `prompts/` and `results/` lie: inside a wheel's package, or beside it in a checkout."""
    package = Path(__file__).parent
    packed = package / "_builtin"
    return packed if packed.is_dir() else package.parent


def import_file(path: Path) -> list[type[Task]]:
    """The Task subclasses that one file defines. Raises UsageError where it does not import."""
    module = run_file(path)
    classes = [v for v in vars(module).values() if inspect.isclass(v) and v.__module__ == module.__name__]
    return [c for c in classes if issubclass(c, Task) and hasattr(c, "name")]


def run_file(path: Path) -> ModuleType:
    """Runs a file of tasks or metrics, by path, never as a top-level package.

    Raises UsageError where it does not import.
    """
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
    except (Exception, SystemExit) as error:
        raise UsageError(f"{path}: the file does not import ({_reason(error)})") from error
    return module


def task_files(folder: Path) -> list[Path]:
    """The files of a folder that may define tasks."""
    return [path for path in sorted(folder.glob("*.py")) if not path.name.startswith("_")]


def _add_folder(registry: Registry, folder: Path, origin: str | None = None) -> None:
    for path in task_files(folder):
        try:
            for cls in import_file(path):
                registry.add(cls.name, cls, origin or str(path))
        except KosmosEvalError as error:
            registry.faults[str(path)] = str(error)


def _add_installed(registry: Registry) -> None:
    """Adds the tasks of installed packages. A name that two of them claim goes to neither."""
    claims: Mapping[str, list[EntryPoint]] = defaultdict(list)
    for point in entry_points(group=GROUP):
        claims[point.name].append(point)
    for name, points in sorted(claims.items()):
        origins = [_origin(point) for point in points]
        if len(points) > 1:
            registry.faults[name] = f"task {name!r} is claimed by {' and by '.join(origins)}: uninstall all but one"
            continue
        try:
            registry.add(name, offered(points[0]), origins[0], fault=origins[0])
        except UsageError as error:
            registry.faults[name] = f"{origins[0]}: {error}"


def offered(point: EntryPoint) -> type[Task]:
    """The task behind an entry point. Raises UsageError where there is none, or not the one that its name says."""
    try:
        found = point.load()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{point.value} does not import ({_reason(error)})") from error
    if not (inspect.isclass(found) and issubclass(found, Task)):
        raise UsageError(f"{point.value} is not a subclass of kosmos_eval.Task")
    if getattr(found, "name", None) != point.name:
        raise UsageError(f"{point.value} is the task {getattr(found, 'name', None)!r}, its entry point {point.name!r}")
    return found


def _origin(point: EntryPoint) -> str:
    package = f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown package"
    return f"the installed package {package} ({point.value})"


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


@cache
def registry(tasks_dir: Path | None = None) -> Registry:
    """All tasks: built in, of installed packages, and of the folder `tasks_dir`."""
    found = Registry()
    _add_folder(found, builtin_root() / "tasks", "kosmos-eval itself")
    _add_installed(found)
    if tasks_dir is not None:
        if not tasks_dir.is_dir():
            raise UsageError(f"--tasks-dir {tasks_dir}: no such folder")
        _add_folder(found, tasks_dir)
    return found


def all_tasks(tasks_dir: Path | None = None) -> Mapping[str, type[Task]]:
    """The tasks that can be used, by name."""
    return registry(tasks_dir).tasks


def task_class(name: str, tasks_dir: Path | None = None) -> type[Task]:
    """A task by name; the error for an unknown one gives the nearest right name, and which plugins are at fault."""
    found = registry(tasks_dir)
    if name in found.faults:
        raise UsageError(found.faults[name])
    if name in found.tasks:
        return found.tasks[name]
    faults = "".join(f"; {fault}" for fault in found.faults.values())
    own = "" if tasks_dir else "; one of your own is found by --tasks-dir"
    raise UsageError(f"no task {name!r}{nearest(name, found.tasks)}{own}{faults}")


def prompt_file(task: str, prompts: Path | None = None, tasks_dir: Path | None = None) -> PromptFile:
    """The templates of a task.

    `prompts` is a YAML file, or a folder with `<task>.yaml`; without it, a file in `tasks_dir`, beside the task's own
    file, then the built-in one.
    """
    if prompts is not None and prompts.is_file():
        return PromptFile.read(prompts)
    folders = [prompts] if prompts is not None else list(_prompt_folders(task, tasks_dir))
    for folder in folders:
        if (folder / f"{task}.yaml").is_file():
            return PromptFile.read(folder / f"{task}.yaml")
    looked = ", ".join(str(folder / f"{task}.yaml") for folder in folders)
    raise UsageError(f"no prompts for task {task!r}: looked for {looked}")


def _prompt_folders(task: str, tasks_dir: Path | None) -> Iterator[Path]:
    if tasks_dir is not None:
        yield tasks_dir
    installed = all_tasks().get(task)
    if installed is not None and (home := home_of(installed)) is not None:
        yield home
    yield builtin_root() / "prompts"


def home_of(task: type[Task]) -> Path | None:
    """The folder of a task's own file, where its prompts may lie beside it."""
    try:
        return Path(inspect.getfile(task)).parent
    except (TypeError, OSError):
        return None
