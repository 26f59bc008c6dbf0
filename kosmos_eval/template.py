"""Templates: what `prompts/<task>.yaml` declares, and how it becomes segments.

Jinja fills in a sample's fields (sandboxed; an unknown variable is an error). Values are stashed while the text is cut
at its markers, so nothing in the data can act as a marker:

- `<image>`: the sample's next image; `<images>`: all of them, in order; `<candidate>`: the image of the choice at hand.
- KOSMOS-2's tags, such as `<grounding>`, are special tokens where the author wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from jinja2 import Undefined, meta
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kosmos_eval.data.files import MAX_TEXT
from kosmos_eval.errors import PromptError, UsageError, nearest
from kosmos_eval.prompt import Image, Output, Segment, Text, digest, parse_tags
from kosmos_eval.sandbox import PromptEnvironment

RationaleSource = Literal["auto", "field", "model", "none"]
_MARKER = re.compile(r"<image>|<images>|<candidate>|\ue000\d+\ue001")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class GenerateSpec(_Strict):
    """The `generate:` of a stage; `as` names the output for later stages."""

    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 320
    name: str = Field(default="answer", alias="as", pattern=r"^[a-z_][a-z0-9_]*$")
    beams: Annotated[int, Field(ge=1, le=64)] = 1
    length_penalty: Annotated[float, Field(ge=-50, le=50, allow_inf_nan=False)] = 1.0
    no_repeat_ngram: Annotated[int, Field(ge=0)] = 0
    stop: tuple[str, ...] = ()


class CandidateSpec(_Strict):
    """`score:` over a sample's candidate images: what is appended for each, and the text that counts."""

    choice: str
    target: str


class TextsSpec(_Strict):
    """`score:` over the task's answers, each by a text of its own: for models that liken pictures to sentences."""

    texts: dict[str, str] = Field(min_length=1)


class StageSpec(_Strict):
    """One stage: text to append, then `generate` or `score`."""

    ask: str
    generate: GenerateSpec | None = None
    score: Literal["answers"] | CandidateSpec | TextsSpec | None = None
    context: Literal["continue", "fresh"] = "continue"
    image: Literal["keep", "drop"] = "keep"

    @model_validator(mode="after")
    def _one_act(self) -> StageSpec:
        if (self.generate is None) == (self.score is None):
            raise ValueError("a stage has either 'generate' or 'score'")
        return self

    @property
    def scores_answers(self) -> bool:
        """Whether it weighs the answers of the task, in whatever words."""
        return self.score == "answers" or isinstance(self.score, TextsSpec)


class Template(_Strict):
    """A named way to ask a task: how a demonstration is written, and one or more stages."""

    demo: str
    stages: tuple[StageSpec, ...] = Field(min_length=1)
    rationale: RationaleSource = "none"
    zero_shot_text_demos: Annotated[int, Field(ge=0)] = 0
    separator: str = ""
    source: str = "ours"

    @model_validator(mode="after")
    def _chain(self) -> Template:
        if any(stage.score is not None for stage in self.stages[:-1]):
            raise ValueError("only the last stage may score")
        names = [s.generate.name for s in self.stages if s.generate]
        if len(names) != len(set(names)):
            raise ValueError(f"two stages generate under one name ({', '.join(names)})")
        if self.rationale != "none" and len(self.stages) < 2:
            raise ValueError("'rationale' needs a stage before the last one that generates it")
        return self

    @property
    def hash(self) -> str:
        return digest(self.model_dump(mode="json"))

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything in it that is filled in."""
        choices = (stage.score.choice for stage in self.stages if isinstance(stage.score, CandidateSpec))
        return self.demo, *(stage.ask for stage in self.stages), *choices

    @property
    def rationale_name(self) -> str | None:
        """The output of the first stage, where there is more than one."""
        first = self.stages[0].generate
        return first.name if first and len(self.stages) > 1 else None


class PromptFile:
    """The templates of one task, by name, as read from its YAML file."""

    def __init__(self, path: Path, templates: Mapping[str, Template]) -> None:
        self.path, self.templates = path, templates

    def __getitem__(self, name: str) -> Template:
        if name not in self.templates:
            raise UsageError(f"{self.path.stem}: no prompt {name!r}{nearest(name, self.templates)}")
        return self.templates[name]

    @classmethod
    def read(cls, path: Path) -> PromptFile:
        """Reads and checks a prompts YAML; raises PromptError naming file, prompt, field and the nearest right name."""
        templates: dict[str, Template] = {}
        for name, found in cls.read_each(path):
            if isinstance(found, PromptError):
                raise found
            templates[name] = found
        return cls(path, templates)

    @staticmethod
    def read_each(path: Path) -> Iterator[tuple[str, Template | PromptError]]:
        """The templates of a prompts YAML one by one, or what is wrong with each. Raises PromptError for the file."""
        import yaml

        from kosmos_eval.safe_yaml import load_yaml

        try:
            raw = load_yaml(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PromptError(f"{path}: no such prompt file") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise PromptError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from None
        if not isinstance(raw, dict) or not raw:
            raise PromptError(f"{path}: expected a mapping of prompt names to templates")
        for name, spec in raw.items():
            try:
                if not isinstance(name, str):
                    raise PromptError(f"{path}: {name}: the name of a prompt is a text; put it in quotes")
                yield name, _validated(path, name, spec)
            except PromptError as error:
                yield str(name), error


def _validated(path: Path, name: str, spec: Any) -> Template:
    try:
        template = Template.model_validate(spec)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in (name, *first["loc"]))
        hint = ""
        if first["type"] == "extra_forbidden":
            fields = {a for m in (Template, StageSpec, GenerateSpec, CandidateSpec, TextsSpec) for a in _names(m)}
            hint = nearest(str(first["loc"][-1]), fields)
        raise PromptError(f"{path}: {where}: {first['msg']}{hint}") from None
    for text in template.texts:
        _variables(text, f"{path}: {name}")
    return template


def _names(model: type[BaseModel]) -> list[str]:
    return [f.alias or n for n, f in model.model_fields.items()]


@lru_cache(maxsize=1)
def _environment() -> PromptEnvironment:
    return PromptEnvironment()


@lru_cache(maxsize=512)
def _variables(text: str, where: str) -> frozenset[str]:
    try:
        return frozenset(meta.find_undeclared_variables(_environment().parse(text)))
    except Exception as error:  # Jinja's own errors, and Python's about numbers and depths beyond reason
        raise PromptError(f"{where}: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


class _Compiled:
    """A compiled template and the values that its last rendering inserted.

    Each inserted value leaves a numbered placeholder in the text. Jinja folds constant expressions while it compiles;
    the values of those are in `constant`.
    """

    def __init__(self, text: str, where: str) -> None:
        self.stash: list[Any] = []
        self.environment = _environment().overlay(finalize=self._keep)
        try:
            self.template = self.environment.from_string(text)
        except Exception as error:
            raise PromptError(f"{where}: {_one_line(error)}") from None
        self.constant = tuple(self.stash)

    def _keep(self, value: Any) -> str:
        if isinstance(value, Undefined):
            str(value)  # raises: `{{ question.typo }}` is not a variable but is as wrong
        self.stash.append(value)
        return f"\ue000{len(self.stash) - 1}\ue001"

    def fill(self, variables: Mapping[str, Any]) -> tuple[str, list[Any]]:
        self.stash[:] = self.constant
        self.environment.rounds = 0
        return self.template.render(variables), self.stash


_compiled = lru_cache(maxsize=512)(_Compiled)


def _fill(text: str, variables: Mapping[str, Any], where: str) -> tuple[str, list[Any]]:
    """The text with every inserted value replaced by a numbered placeholder, and those values."""
    if unknown := _variables(text, where) - variables.keys():
        name = min(unknown)
        raise PromptError(f"{where}: unknown variable {name!r}{nearest(name, variables)}")
    try:
        return _compiled(text, where).fill(variables)
    except PromptError:
        raise
    except Exception as error:  # a template is a program: it may divide by zero, or ask for a range without end
        raise PromptError(f"{where}: cannot be filled in ({type(error).__name__}: {_one_line(error)})") from None


def _piece(
    marker: str, stash: list[Any], images: Iterator[Image], candidate: Image | None, where: str
) -> list[Segment]:
    if marker == "<images>":
        return list(images)
    if marker == "<candidate>":
        if candidate is None:
            raise PromptError(f"{where}: <candidate> stands where no candidate is weighed")
        return [candidate]
    if marker == "<image>":
        image = next(images, None)
        if image is None:
            raise PromptError(f"{where}: more <image> markers than the sample has images")
        return [image]
    value = stash[int(marker[1:-1])]
    if isinstance(value, Output):
        return [value]
    return [Text(str(value))]


def render(
    text: str, variables: Mapping[str, Any], images: Iterator[Image], candidate: Image | None, where: str
) -> list[Segment]:
    """A template text as segments; adjacent texts are joined, as they will be tokenised together.

    images: the sample's images not yet placed; `where` opens every error message.
    """
    filled, stash = _fill(text, variables, where)
    segments: list[Segment] = []
    end = size = 0
    for match in _MARKER.finditer(filled):
        segments.extend(parse_tags(filled[end : match.start()]))
        pieces = _piece(match.group(), stash, images, candidate, where)
        size += match.start() - end + sum(len(piece.text) for piece in pieces if isinstance(piece, Text))
        if size > MAX_TEXT:
            raise PromptError(f"{where}: gives more than {MAX_TEXT} characters, more than a prompt's text may have")
        segments.extend(pieces)
        end = match.end()
    segments.extend(parse_tags(filled[end:]))
    return joined(segments)


def joined(segments: list[Segment]) -> list[Segment]:
    """Merges neighbouring texts into one."""
    out: list[Segment] = []
    for s in segments:
        if isinstance(s, Text) and out and isinstance(out[-1], Text):
            out[-1] = Text(out[-1].text + s.text)
        elif not (isinstance(s, Text) and not s.text):
            out.append(s)
    return out
