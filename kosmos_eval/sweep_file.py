"""A sweep file: the grid of runs that a YAML file declares. Every mistake in it is an error with its line and key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kosmos_eval.errors import UsageError, nearest
from kosmos_eval.safe_yaml import load_yaml

Location = tuple[str | int, ...]
T = TypeVar("T")


def _listed(value: Any) -> Any:
    """One value stands for a list of it; none is a mistake, not an empty grid."""
    return value if isinstance(value, list) else [value]


def _once(values: list[T]) -> list[T]:
    """Each value once: the same run twice would wait for itself."""
    return [value for place, value in enumerate(values) if value not in values[:place]]


Listed = Annotated[list[T], BeforeValidator(_listed), Field(min_length=1), AfterValidator(_once)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelSpec(_Strict):
    """A model to ask: `name` as in `kosmos-eval run --model`."""

    name: str
    device: str = "auto"
    dtype: str = "auto"
    revision: str | None = None


def _model(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Axes(_Strict):
    """What the runs of a task vary over."""

    prompts: Listed[str] = ["standard"]
    shots: Listed[int] = [0]
    seeds: Listed[int] = [0]
    demos: Listed[str] = ["fixed"]
    demo_orders: Annotated[int, Field(ge=1)] = 1
    """In so many orders each set of demonstrations is shown: a run each."""
    data: Listed[str] = ["mini"]
    splits: Listed[str | None] = [None]
    limit: int | None = None


class Exclusion(_Strict):
    """Runs to leave out: those that have one of the values of every key that is given."""

    models: Listed[str] | None = None
    tasks: Listed[str] | None = None
    prompts: Listed[str] | None = None
    shots: Listed[int] | None = None
    seeds: Listed[int] | None = None
    demos: Listed[str] | None = None
    data: Listed[str] | None = None
    splits: Listed[str | None] | None = None


class SweepFile(Axes):
    """models x tasks x prompts x shots x seeds x demos x data x splits, less what is excluded."""

    tasks: Listed[str]
    models: Listed[Annotated[ModelSpec, BeforeValidator(_model)]] = [ModelSpec(name="kosmos-mini")]
    overrides: dict[str, dict[str, Any]] = {}
    """Task -> axes that are its own."""
    exclude: list[Exclusion] = []
    out: str = "results"
    tasks_dir: str | None = None
    prompt_files: str | None = None
    """A prompts YAML, or a folder with <task>.yaml: the `--prompts` of `kosmos-eval run`."""

    def axes(self, task: str) -> Axes:
        """The axes of a task, with its own in place of the common ones."""
        common = {name: getattr(self, name) for name in Axes.model_fields}
        return Axes.model_validate({**common, **self.overrides.get(task, {})})


class Source:
    """Where a sweep was declared: names the line of a key in messages."""

    def __init__(self, name: str, root: yaml.Node | None = None) -> None:
        self.name, self.root = name, root

    def error(self, where: Location, message: str) -> UsageError:
        """An error about a key, to be raised."""
        line = self._line(where)
        at = f", line {line}" if line else ""
        key = ".".join(map(str, where))
        return UsageError(f"{self.name}{at}: {key + ': ' if key else ''}{message}")

    def _line(self, where: Location) -> int | None:
        node, line = self.root, None
        for part in where:
            found = None
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                found = node.value[part], node.value[part]
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return line


def read_sweep(path: Path) -> tuple[SweepFile, Source]:
    """Reads and checks a sweep file; raises UsageError naming file, line, key and the nearest right name."""
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        source = Source(str(path), root)
        _refuse(root, source)
        raw = load_yaml(text)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such sweep file") from None
    except (OSError, UnicodeDecodeError, RecursionError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from None
    return checked(raw, source), source


def checked(raw: Any, source: Source) -> SweepFile:
    """A sweep from plain data."""
    if not isinstance(raw, Mapping):
        raise source.error((), "expected a mapping with at least `tasks`")
    try:
        found = SweepFile.model_validate(raw)
    except ValidationError as error:
        raise _told(error, source, ()) from None
    for task in found.overrides:
        try:
            found.axes(task)
        except ValidationError as error:
            raise _told(error, source, ("overrides", task)) from None
    return found


def _told(error: ValidationError, source: Source, before: Location) -> UsageError:
    first = error.errors(include_input=False, include_url=False)[0]
    where = (*before, *first["loc"])
    hint = nearest(str(where[-1]), _known(where)) if first["type"] == "extra_forbidden" else ""
    message = "unknown key" if hint else first["msg"]
    return source.error(where, message + hint)


def _known(where: Location) -> list[str]:
    """The keys that may stand where a wrong one does."""
    kinds: dict[str, type[BaseModel]] = {"overrides": Axes, "exclude": Exclusion, "models": ModelSpec}
    kind = kinds.get(str(where[0]), SweepFile) if len(where) > 1 else SweepFile
    return list(kind.model_fields)


def _refuse(root: yaml.Node | None, source: Source) -> None:
    """Refuses keys given twice, of which YAML takes the last, and aliases, which can grow without bound."""
    seen: set[int] = set()
    for node, where in _nodes(root, ()):
        if id(node) in seen:
            raise source.error(where, "an alias (`*name`); write the values out")
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            for key in keys:
                if keys.count(key) > 1:
                    raise source.error((*where, key), "given twice")


def _nodes(node: yaml.Node | None, where: Location) -> Iterator[tuple[yaml.Node, Location]]:
    if node is None:
        return
    yield node, where
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _nodes(value, (*where, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield from _nodes(value, (*where, place))
