"""One line of a response file: what a model answered to one sample, and what exactly it was asked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from kosmos_eval.request import ChoiceScore, Generated, Response, StageResult


@dataclass(frozen=True, slots=True)
class Record:
    """A stored response. Its key is the sample and the hash of everything that was asked about it."""

    sample_id: str
    prompt_hash: str
    demos: tuple[str, ...]
    response: Response
    unit: int
    seconds: float
    files: tuple[str, str] | None = None
    """What its pictures' files were: a hash of their sizes and times, and one of their contents (see `pictures`)."""
    commit: int | None = field(default=None, compare=False)
    """In the last record of what a unit added: how many they are."""

    @property
    def key(self) -> tuple[str, str]:
        return self.sample_id, self.prompt_hash

    @property
    def settled(self) -> bool:
        """Whether asking again could only repeat it: an error may be mended (an image replaced), a lack of room not."""
        return self.response.error is None or not self.response.fits

    def to_line(self, commit: int | None = None) -> str:
        """One line of JSON. A response with a log-probability that is no number is stored as a failure."""
        plain = {
            "id": self.sample_id,
            "prompt_hash": self.prompt_hash,
            "demos": list(self.demos),
            "stages": [_plain(stage) for stage in self.response.stages],
            "error": self.response.error,
            "fits": self.response.fits,
            "pixels": self.response.pixels,
            "unit": self.unit,
            "seconds": round(self.seconds, 4),
            "files": self.files,
            "commit": commit,
        }
        return json.dumps(plain, ensure_ascii=True, allow_nan=False) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Record:
        """Raises ValueError, KeyError or TypeError for a line that is none."""
        plain = json.loads(line, parse_constant=_refuse)
        if not isinstance(plain, dict):
            raise TypeError("not an object")
        for key, (fits, what) in _FIELDS.items():
            if not fits(plain[key] if key in _REQUIRED else plain.get(key)):
                raise TypeError(f"{key!r} is not {what}")
        stages = tuple(_stage(stage) for stage in plain["stages"])
        response = Response(plain["id"], stages, plain["error"], plain["fits"], plain.get("pixels"))
        demos = tuple(plain["demos"])
        files = plain.get("files")
        # Lines of earlier versions have no `commit`: each of them was one.
        return cls(plain["id"], plain["prompt_hash"], demos, response, plain["unit"], plain["seconds"],
                   None if files is None else (files[0], files[1]), plain.get("commit", 1))  # fmt: skip


def finite(response: Response) -> Response:
    """The response, or a failure in its place where a log-probability is not a finite number."""
    for stage in response.stages:
        for choice in stage.choices:
            if not math.isfinite(choice.logprob):
                error = f"the log-probability of {choice.name!r} is {choice.logprob}"
                return replace(response, stages=(), error=error)
    return response


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


_HASH = re.compile(r"[0-9a-f]{16}")
FINISHES = ("eos", "stop", "length")
_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": (lambda v: isinstance(v, str), "a text"),
    "prompt_hash": (lambda v: isinstance(v, str), "a text"),
    "demos": (lambda v: isinstance(v, list) and all(isinstance(d, str) for d in v), "a list of texts"),
    "stages": (lambda v: isinstance(v, list), "a list"),
    "error": (lambda v: isinstance(v, str | None), "a text or null"),
    "fits": (lambda v: isinstance(v, bool), "true or false"),
    "pixels": (lambda v: isinstance(v, str | None), "a text or null"),
    "unit": (_is_count, "a count"),
    "seconds": (lambda v: type(v) in (int, float), "a number"),
    "files": (lambda v: v is None or (isinstance(v, list) and len(v) == 2 and all(map(_is_hash, v))), "two hashes"),
    "commit": (lambda v: v is None or _is_count(v), "a count or null"),
}
_REQUIRED = _FIELDS.keys() - {"pixels", "files", "commit"}  # lines of earlier versions lack these


def _plain(stage: StageResult) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": stage.name}
    if stage.generated is not None:
        g = stage.generated
        plain |= {"text": g.text, "finish": g.finish, "ids": list(g.ids)}
    if stage.choices:
        plain["choices"] = [[c.name, c.logprob, c.tokens, c.mean] for c in stage.choices]
    return plain


def _stage(plain: dict[str, Any]) -> StageResult:
    generated = None
    if "text" in plain:
        generated = Generated(plain["text"], tuple(plain["ids"]), plain["finish"])
        written, ids = isinstance(generated.text, str), all(map(_is_count, generated.ids))
        if not (written and ids and generated.finish in FINISHES):
            raise TypeError("a stage's text, ids or finish is of another kind")
    choices = tuple(ChoiceScore(name, float(logprob), n) for name, logprob, n, _mean in plain.get("choices", ()))
    if not all(isinstance(c.name, str) and math.isfinite(c.logprob) and _is_count(c.tokens) for c in choices):
        raise TypeError("a choice's name, log-probability or number of tokens is of another kind")
    if not isinstance(plain["name"], str):
        raise TypeError("a stage's name is not a text")
    return StageResult(plain["name"], generated, choices)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")
