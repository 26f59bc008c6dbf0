"""A model whose weights are in the workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import UsageError
from kosmos_eval.models.base import NO_TOWER, Model
from kosmos_eval.models.lazy import LazyModel
from kosmos_eval.models.locate import resolve_device
from kosmos_eval.prompt import Image
from kosmos_eval.request import Request, Response

if TYPE_CHECKING:
    from torch import Tensor


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

    def embed_images(self, images: Sequence[Image]) -> Tensor:
        """See `Embedder` in `models.base`: the driver makes the index of `rices` itself, before anything is asked.

        Raises UsageError where its device is not in this machine, or it has no vector of a picture.
        """
        if not isinstance(self._model, LazyModel):
            raise UsageError(NO_TOWER.format(name=self.name))
        resolve_device(self._model.device, self._model.dtype)
        return self._model.embed_images(images)
