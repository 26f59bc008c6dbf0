"""A model that is loaded when it is first asked something, so that a finished run starts and ends at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import UsageError
from kosmos_eval.models.base import NO_TOWER, Model
from kosmos_eval.models.locate import Checkpoint
from kosmos_eval.prompt import Image
from kosmos_eval.request import Request, Response

if TYPE_CHECKING:
    from torch import Tensor

Loader = Callable[[Path, str, str, str], Model]
"""(folder, name, device, dtype) -> the model."""


class LazyModel:
    """A checkpoint's name and fingerprint at once, its network on first use."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        load: Loader,
        fingerprint: Callable[[Path], str],
        device: str,
        dtype: str,
    ) -> None:
        self.checkpoint, self._load, self._fingerprint = checkpoint, load, fingerprint
        self.name = checkpoint.name
        self.device, self.dtype = device, dtype

    @cached_property
    def fingerprint(self) -> str:
        return self._fingerprint(self.checkpoint.folder)

    @cached_property
    def loaded(self) -> Model:
        return self._load(self.checkpoint.folder, self.name, self.device, self.dtype)

    @property
    def info(self) -> Mapping[str, Any]:
        if "loaded" in self.__dict__:
            return self.loaded.info
        return {"device": self.device, "dtype": self.dtype}

    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Response]]:
        return self.loaded.run(requests)

    def embed_images(self, images: Sequence[Image]) -> Tensor:
        """See `kosmos_eval.retrieval.Embedder`. Raises UsageError for a model that has no vector of a picture."""
        embed = getattr(self.loaded, "embed_images", None)
        if embed is None:
            raise UsageError(NO_TOWER.format(name=self.name))
        found: Tensor = embed(images)
        return found
