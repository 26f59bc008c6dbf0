"""What keys and values take, what they would take if every row had a cache of its own, and when there is no more."""

from __future__ import annotations

from dataclasses import dataclass

import torch


def out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out: on a GPU by its class, on a CPU by the words of torch's allocator."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


@dataclass(slots=True)
class Memory:
    """Bytes of keys and values, each the most at any time: `held` in fact, `per_row` without any sharing."""

    held: int = 0
    per_row: int = 0

    def note(self, held: int, per_row: int) -> None:
        """Takes note of a batch: what is held now, and what its rows would take by themselves."""
        self.held, self.per_row = max(self.held, held), max(self.per_row, per_row)
