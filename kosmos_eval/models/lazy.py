"""A model that is loaded when it is first asked something, so that a finished run starts and ends at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kosmos_eval.models.locate import Checkpoint, resolve_device
from kosmos_eval.request import Request, Response

if TYPE_CHECKING:
    from kosmos_eval.models.kosmos import KosmosModel


class LazyModel:
    """A checkpoint's name and fingerprint at once, its network on first use."""

    def __init__(self, checkpoint: Checkpoint, device: str = "auto", dtype: str = "auto") -> None:
        self.checkpoint = checkpoint
        self.name = checkpoint.name
        self.device, self.dtype = resolve_device(device, dtype)

    @cached_property
    def fingerprint(self) -> str:
        from kosmos_eval.kosmos.weights import fingerprint

        return fingerprint(self.checkpoint.folder)

    @cached_property
    def loaded(self) -> KosmosModel:
        from kosmos_eval.models.kosmos import KosmosModel

        return KosmosModel.load(self.checkpoint.folder, self.name, self.device, self.dtype)

    @property
    def info(self) -> Mapping[str, Any]:
        if "loaded" in self.__dict__:
            return self.loaded.info
        return {"device": self.device, "dtype": self.dtype}

    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Response]]:
        return self.loaded.run(requests)
