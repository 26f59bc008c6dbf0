"""Prompts: tuples of segments. Never a string with a magic token in it, so `<image>` inside data stays text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

TAG = re.compile(
    r"<grounding>|</?phrase>|</?object>|</delimiter_of_multi_objects/>|</line>|</doc>|</chunk>|<patch_index_\d{4}>"
)
"""KOSMOS-2's special tokens that a prompt's author may write; not `<image>`: an image is a segment of its own."""


@dataclass(frozen=True, slots=True)
class Text:
    """Literal text; what looks like a special token in it is not one."""

    text: str


@dataclass(frozen=True, slots=True)
class Tag:
    """One of the model's special tokens, by its name, such as `<grounding>`."""

    name: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids as they are: what was generated before, or what another harness has tokenised."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """A reference to a picture; nothing is decoded before a model asks for pixels.

    `name` identifies it inside its data (a path relative to the data folder), the same on every machine. `path` is the
    file, `record` the place inside it for containers (`image/3`: row 3 of array `image` of an .npz).
    """

    name: str
    path: Path | None = field(default=None, compare=False)
    record: str | None = None
    pil: PILImage | None = field(default=None, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled with its path as a text: a large split is written and read many times (see `spool`)."""
        return _unpickled, (self.name, None if self.path is None else str(self.path), self.record, self.pil)

    @classmethod
    def of(cls, source: Path | PILImage) -> Image:
        """An image from a file or from memory; the latter is named by its content."""
        if isinstance(source, Path):
            return cls(name=str(source), path=source)
        digest = hashlib.blake2b(source.tobytes(), digest_size=8)
        digest.update(f"{source.mode}{source.size}".encode())
        return cls(name=f"memory:{digest.hexdigest()}", pil=source)


def _unpickled(name: str, path: str | None, record: str | None, pil: PILImage | None) -> Image:
    return Image(name, None if path is None else Path(path), record, pil)


@dataclass(frozen=True, slots=True)
class Output:
    """Stands for the text that an earlier stage of the same request will have generated."""

    stage: str

    def __str__(self) -> str:
        raise TypeError(f"{self.stage!r} is generated later: a prompt can place it, but not filter it")


Segment: TypeAlias = Text | Tag | Tokens | Image | Output
Part: TypeAlias = Union[str, Path, "PILImage", Segment]


def parse_tags(text: str) -> Iterator[Text | Tag]:
    """Splits an author's text at the special tokens it names."""
    end = 0
    for match in TAG.finditer(text):
        if match.start() > end:
            yield Text(text[end : match.start()])
        yield Tag(match.group())
        end = match.end()
    if end < len(text):
        yield Text(text[end:])


def _segments(part: Part) -> Iterable[Segment]:
    if isinstance(part, (Text, Tag, Tokens, Image, Output)):
        return (part,)
    if isinstance(part, str):
        return parse_tags(part)
    if isinstance(part, Path) or (hasattr(part, "tobytes") and hasattr(part, "mode")):
        return (Image.of(part),)
    raise TypeError(f"a prompt is made of str, Path, PIL images and segments, not of {type(part).__name__}")


@dataclass(frozen=True, slots=True, init=False)
class Prompt:
    """Text and images in any order and number.

    >>> Prompt(Path("cat.png"), "Question: what is it? Answer:")

    A `str` is text in which KOSMOS-2's tags (`<grounding>`) count; wrap what comes from data in `Text`. A `Path` or a
    PIL image is a picture.
    """

    segments: tuple[Segment, ...]

    def __init__(self, *parts: Part) -> None:
        object.__setattr__(self, "segments", tuple(s for part in parts for s in _segments(part)))

    @property
    def images(self) -> tuple[Image, ...]:
        return tuple(s for s in self.segments if isinstance(s, Image))


def describe(segments: Iterable[Segment]) -> list[list[str]]:
    """Segments as plain data, `[kind, content]` each: what is hashed and what records show."""
    plain = []
    for s in segments:
        match s:
            case Text(text):
                plain.append(["text", text])
            case Tag(name):
                plain.append(["tag", name])
            case Tokens(ids):
                plain.append(["tokens", " ".join(map(str, ids))])
            case Image():
                plain.append(["image", s.name if s.record is None else f"{s.name}#{s.record}"])
            case Output(stage):
                plain.append(["output", stage])
    return plain


def digest(value: object) -> str:
    """A short stable hash of plain data: the same on every machine and in every process."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
