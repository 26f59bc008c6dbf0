"""What a model is to a run: a name, a fingerprint, and requests in, responses out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from kosmos_eval.prompt import Image
from kosmos_eval.request import Request, Response

if TYPE_CHECKING:
    from torch import Tensor

NO_TOWER = "--demos rices: {name} has no vision tower that is known here; name a model that has one: rices:clip:FOLDER"


class Model(Protocol):
    """Anything that answers requests. It may sort, batch and share as it likes, but never drops a request.

    One that cannot be answered (a corrupt image, too many positions) is answered by a Response that says so; only what
    concerns all of them, such as a broken device, is raised.
    """

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides what it says, and of nothing that only decides how fast."""
        ...

    @property
    def info(self) -> Mapping[str, Any]:
        """What else a record should say; at least `device` and `dtype`, `positions` where there is a limit."""
        ...

    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Response]]:
        """Yields, in any order, each request's place in the stream and its response. Requests are taken as needed."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """A model that has a vector for a picture: by what `rices` compares."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def info(self) -> Mapping[str, Any]: ...

    def embed_images(self, images: Sequence[Image]) -> Tensor:
        """Unit vectors (images, width), float32, on the CPU. Raises ImageError for a picture that cannot be read."""
        ...
