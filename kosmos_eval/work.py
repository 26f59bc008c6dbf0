"""Work units: windows of the plan, cut from the plan alone. What is scheduled, batched and, after a crash, asked again.

Cells that stand on the same ground (task, data, split, samples, demonstrations' seed, sampler and order) are asked
together: their prompts begin with the same demonstrations and show the same pictures, and a model that shares prefixes
finds both in one unit. A unit is composed from the plan and never from what remains to be answered, so that a run that
is taken up again asks in the batches it would have had.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kosmos_eval.cell import Cell
from kosmos_eval.request import Request

UNIT_SAMPLES = 256
UNIT_REQUESTS = 1024
"""What a unit holds at most. Constants: the units, hence the batches, are the same wherever a run is made."""


@dataclass(frozen=True, slots=True, eq=False)
class WorkUnit:
    """Requests that are asked in one go. Sample by sample, and of a sample cell by cell. Compared by identity."""

    number: int
    """Its place among the units of its cells."""
    requests: tuple[Request, ...]


def unit_samples(cells: int) -> int:
    """How many samples a unit of so many cells holds."""
    return max(1, min(UNIT_SAMPLES, UNIT_REQUESTS // max(1, cells)))


def together(cells: Iterable[Cell]) -> list[list[Cell]]:
    """The cells in groups that are asked together, in the order in which they are first met."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        ground = (id(cell.task), cell.seed, cell.demos, cell.order, cell.limit)
        groups.setdefault(ground, []).append(cell)
    return list(groups.values())
