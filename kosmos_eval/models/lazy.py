"""A model that is loaded when it is first asked something, so that a finished run starts and ends at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from kosmos_eval.models.base import Model
from kosmos_eval.models.locate import Checkpoint
from kosmos_eval.request import Request, Response

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
