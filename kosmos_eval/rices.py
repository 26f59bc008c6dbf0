"""Retrieval-based demonstrations (RICES; Yang et al. 2021, Flamingo's appendix): the index that a plan is given.

The index is made beforehand by a model's vision tower (see `retrieval`); from here on nothing knows a model. Unit
vectors are rounded to multiples of 2^-20: a product of two then has 40 bits and the sum of all of them fits into a
float64 exactly. So similarities, and with them the order of demonstrations, do not depend on how many queries are
compared at once, on the number of threads or on the machine's linear algebra.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kosmos_eval.errors import UsageError
from kosmos_eval.prompt import Image
from kosmos_eval.task import Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEIGHBOURS = 64
"""So many pictures are kept for each query: twice what fits into the positions of a KOSMOS model."""
_GRID = float(2**20)
_QUERIES, _ROWS = 64, 4096
"""Queries and pool pictures that are compared at once: what bounds the memory."""


@dataclass(frozen=True, slots=True)
class PictureIndex:
    """Which pictures of a pool are most like each query's."""

    fingerprint: str
    """Of the embedder and the contents of the pool's pictures."""
    embedder: str
    """Whose vision tower compared them, for tables."""
    pool: Mapping[Image, int]
    """The pool's pictures by number; pictures of one content share theirs."""
    nearest: Mapping[Image, NDArray[np.int32]]
    """A query's picture -> the numbers of the nearest ones, most similar first, without those of its own content."""


def picture_of(sample: Sample, task: str) -> Image:
    """The sample's one picture. Raises UsageError for a sample that has none or several."""
    if len(sample.images) != 1:
        raise UsageError(
            f"{task}: --demos rices compares one picture with one; sample {sample.id!r} shows {len(sample.images)}: "
            "use fixed, random or balanced"
        )
    return sample.images[0]


def rounded(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors of length one at most, every component a multiple of 2^-20."""
    import numpy as np

    return np.round(vectors.astype(np.float64) * _GRID).astype(np.float32) / np.float32(_GRID)


def nearest_pictures(
    queries: NDArray[np.float32], own: Sequence[int], pool: NDArray[np.float32], count: int = NEIGHBOURS
) -> Iterator[NDArray[np.int32]]:
    """For each query the numbers of the `count` pool pictures of largest cosine, the largest first, equals by number.

    queries: (queries, width), pool: (pictures, width), both `rounded`; own: the number of a query's own picture in the
    pool, which is left out, or -1.
    """
    import numpy as np

    for start in range(0, len(queries), _QUERIES):
        block = queries[start : start + _QUERIES].astype(np.float64)
        parts = [block @ pool[row : row + _ROWS].astype(np.float64).T for row in range(0, len(pool), _ROWS)]
        for likeness, mine in zip(np.concatenate(parts, axis=1), own[start : start + _QUERIES], strict=True):
            if mine >= 0:
                likeness[mine] = -np.inf
            yield _largest(likeness, min(count, len(pool) - (mine >= 0)))


def _largest(values: NDArray[np.float64], count: int) -> NDArray[np.int32]:
    """The places of the largest values, in their order; of equal ones the first."""
    import numpy as np

    if count == 0:
        return np.empty(0, np.int32)
    least = np.partition(values, len(values) - count)[len(values) - count]
    places = np.flatnonzero(values >= least)
    return places[np.argsort(-values[places], kind="stable")][:count].astype(np.int32)


def pictures_of(samples: Iterable[Sample], task: str) -> list[Image]:
    """The samples' pictures, each once."""
    return list(dict.fromkeys(picture_of(sample, task) for sample in samples))
