"""A model whose weights are in the workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kosmos_eval.models.base import Model
from kosmos_eval.request import Request, Response


class Elsewhere:
    """A model as the driver knows it: by name. `engine` says who asks it; it is on record with what else is given."""

    def __init__(self, model: Model, engine: str, **on_record: Any) -> None:
        self._model, self.name = model, model.name
        self._on_record = {"engine": engine, **on_record}

    @property
    def fingerprint(self) -> str:
        return self._model.fingerprint

    @property
    def info(self) -> Mapping[str, Any]:
        return {**self._model.info, **self._on_record}

    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Response]]:
        raise RuntimeError(f"this model is asked by others (engine {self._on_record['engine']!r})")
