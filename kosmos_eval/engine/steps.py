"""Greedy steps of fixed shape in fixed memory, so that a GPU can record one and replay it.

A step of writing has little to compute and many kernels to launch: a GPU is done with one before Python asks for the
next. A CUDA graph asks for all of them at once, but always for the same shapes at the same addresses. So the rows that
write and their own positions are rounded up, what is beyond them is hidden, and what changes from step to step (tokens,
places, lengths) comes in one small tensor. The path is taken as long as it is: the batches of a cell mostly have the
same. Beams are not recorded: their tails are reordered.

Nothing here needs a GPU but the recording itself (`record`): elsewhere a step of fixed shape is computed as it stands.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kosmos_eval.engine.attention import StepAttention, hiding
from kosmos_eval.engine.cache import PathCache, SlotCache
from kosmos_eval.engine.memory import out_of_memory
from kosmos_eval.kosmos.model import Kosmos

OWN = 64
"""Own positions are rounded up to a multiple of so many, rows to a power of two."""
_RECORDED_AFTER, _MOST = 1, 64
"""A shape is recorded when it comes back for the second time; so many of them are kept."""


class Shape(NamedTuple):
    """Rows, own positions of each, positions of their path."""

    rows: int
    own: int
    path: int


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


class FixedStep:
    """One step over tensors that stay where they are: `inputs` go in, `logits` (rows, vocabulary) come out.

    inputs: (4, rows), by line: tokens, their places in their sequences, where in their slots they go, and how many own
    positions they see.
    """

    def __init__(self, network: Kosmos, path: PathCache, slots: SlotCache, shape: Shape) -> None:
        self.network, self.path, self.slots, self.shape = network, path, slots, shape
        self.inputs = torch.zeros(4, shape.rows, dtype=torch.long, device=network.device)
        self.logits = torch.empty(0)
        self.replay: Callable[[], None] | None = None
        self.runs = 0

    def compute(self) -> None:
        """The step, without one question to the device: that is what makes it fit to be recorded."""
        network, shape = self.network, self.shape
        tokens, places, at, seen = self.inputs
        hidden = hiding(seen, shape.own, network.dtype)
        attention = StepAttention(self.path, shape.path, self.slots, at, shape.own, hidden)
        out = network.decoder(network.decoder.embed_tokens(tokens), places, attention)
        self.logits = network.decoder.logits(out).float()


Record = Callable[[FixedStep, Any], Callable[[], None]]


def record(step: FixedStep, pool: Any) -> Callable[[], None]:
    """Records a step as a CUDA graph, runs it, and returns what replays it. `pool` is memory that graphs share."""
    with torch.cuda.device(step.network.device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            step.compute()  # libraries set themselves up at their first call, which must not be recorded
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            step.compute()
        graph.replay()
    return graph.replay


class FixedSteps:
    """The slots that batches write in, one after another, and the steps that were recorded on them."""

    def __init__(self, network: Kosmos, recorder: Record = record) -> None:
        self.network, self.record = network, recorder
        self.records = True
        self.pool = torch.cuda.graph_pool_handle() if network.device.type == "cuda" else None
        self.held: SlotCache | None = None
        self.known: dict[Shape, FixedStep] = {}
        self.path_at = (0, 0)

    def forget(self) -> None:
        """Gives up memory, and what was recorded on it."""
        self.held, self.known = None, {}

    def slots(self, rows: int, room: int) -> SlotCache:
        """Slots for the rows of a batch, where the batch before had its own if they are large enough.

        There is a position more than any row has: that is where what is rounded up writes.
        """
        rows_held, room_held = 1 << (rows - 1).bit_length(), _up(room, OWN) + 1
        held = self.held
        if held is None or len(held.k[0]) < rows_held or held.room < room_held:
            self.forget()
            config = self.network.config.text
            held = self.held = SlotCache(config, rows_held, room_held, self.network.device, self.network.dtype)
        return held.lend(rows, room)

    def holds(self, slots: SlotCache) -> bool:
        """Whether these slots are where steps are recorded; slots that had to grow are elsewhere."""
        return self.held is not None and slots.k[0].data_ptr() == self.held.k[0].data_ptr()

    def run(self, path: PathCache, shared: int, own: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Logits (rows, vocabulary) of one more token for each of the first rows, which have `own` positions behind
        `shared` ones of the path. They are good until the next step."""
        step = self._step(path, shared, own)
        rows, idle = len(own), step.shape.rows - len(own)
        assert self.held is not None
        lines = [
            [*tokens, *[0] * idle],
            [*(shared + length for length in own), *[0] * idle],
            [*own, *[self.held.room - 1] * idle],
            [*(length + 1 for length in own), *[1] * idle],
        ]
        step.inputs.copy_(torch.tensor(lines))
        if step.replay is not None:
            step.replay()
        elif self.records and step.runs >= _RECORDED_AFTER:
            self._record(step)
        else:
            step.compute()
        step.runs += 1
        return step.logits[:rows]

    def _step(self, path: PathCache, shared: int, own: Sequence[int]) -> FixedStep:
        """The step for such rows; one that was recorded for more of them will do, and does not cost a GPU more."""
        assert self.held is not None
        if self.path_at != (at := (path.k[0].data_ptr(), path.room)):
            self.known, self.path_at = {}, at
        wanted = Shape(1 << (len(own) - 1).bit_length(), _up(max(own) + 1, OWN), shared)
        for shape, step in self.known.items():
            if step.replay is not None and shape.rows >= wanted.rows and shape[1:] == wanted[1:]:
                return step
        if wanted not in self.known:
            if len(self.known) == _MOST:
                self.known.pop(next(iter(self.known)))
            self.known[wanted] = FixedStep(self.network, path, self.held, wanted)
        return self.known[wanted]

    def _record(self, step: FixedStep) -> None:
        """Records a step, which must then say what it said before; if it does not, nothing is recorded any more."""
        step.compute()
        expected = step.logits.clone()
        try:
            step.replay = self.record(step, self.pool)
            if torch.allclose(step.logits, expected, rtol=0.02, atol=0.02, equal_nan=True):
                return
            reason = "a replayed step differs from a computed one"
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0]
        warnings.warn(f"steps are not recorded on this GPU, so writing is slower: {reason}", stacklevel=2)
        self.records, step.replay, step.logits = False, None, expected
