"""Greedy steps of fixed shape in fixed memory, so that a GPU can record one and replay it.

A step of writing has little to compute and many kernels to launch: a GPU is done with one before Python asks for the
next. A CUDA graph asks for all of them at once, but always for the same shapes at the same addresses. So the rows that
write and their own positions are rounded up, what is beyond them is hidden, and what changes from step to step (tokens,
places, lengths) comes in one small tensor. The path is taken as long as it is: the batches of a cell mostly have the
same. Beams are not recorded: their tails are reordered.

Which shape a step has follows from its rows alone, not from what was recorded before: recorded or not, the same kernels
run, so that a run that was broken off and goes on says the same.

Nothing here needs a GPU but the recording itself (`record`): elsewhere a step of fixed shape is computed as it stands.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from kosmos_eval.engine.attention import StepAttention, hiding
from kosmos_eval.engine.cache import PathCache, SlotCache
from kosmos_eval.kosmos.model import Kosmos

OWN = 64
"""Own positions are rounded up to a multiple of so many, rows to a power of two."""
_RECORDED_AFTER, _MOST = 8, 16
"""A shape is recorded after so many steps of it (recording takes about four); so many shapes are kept."""


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


class Recorder(Protocol):
    """What records a step, runs it once, and returns what replays it."""

    def __call__(self, step: FixedStep) -> Callable[[], None]: ...


class CudaRecorder:
    """Records steps as CUDA graphs, each with memory of its own: what graphs share must outlive them all."""

    def __init__(self) -> None:
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, step: FixedStep) -> Callable[[], None]:
        with torch.cuda.device(step.network.device):
            # Libraries take workspaces at their first call on a stream, which must not be recorded: one stream for all.
            stream = self._stream = self._stream or torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.stream(stream):  # which is left again whatever happens to the recording
                    step.compute()
                    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                        step.compute()
            finally:
                torch.cuda.current_stream().wait_stream(stream)
            step.logits.fill_(float("nan"))  # what was not recorded would go unnoticed else
            graph.replay()
        return graph.replay


class FixedSteps:
    """The slots that batches write in, one after another, and the steps that were recorded on them."""

    def __init__(self, network: Kosmos, recorder: Recorder | None = None) -> None:
        self.network, self.record = network, recorder or CudaRecorder()
        self.records = True
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
        if self.held is None or len(self.held.k[0]) < rows_held or self.held.room < room_held:
            self.forget()
            config = self.network.config.text
            self.held = SlotCache(config, rows_held, room_held, self.network.device, self.network.dtype)
        return self.held.lend(rows, room)

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
        """The step of the shape that such rows have."""
        assert self.held is not None
        assert max(own) < self.held.room - 1, "the last position of a slot is no row's"
        if self.path_at != (at := (path.k[0].data_ptr(), path.room)):
            self.known, self.path_at = {}, at
        shape = Shape(1 << (len(own) - 1).bit_length(), _up(max(own) + 1, OWN), shared)
        step = self.known.pop(shape, None) or FixedStep(self.network, path, self.held, shape)
        if len(self.known) == _MOST:
            self.known.pop(next(iter(self.known)))
        self.known[shape] = step  # the last used come last
        return step

    def _record(self, step: FixedStep) -> None:
        """Records a step, which must then say what it said before; if it does not, nothing is recorded any more."""
        step.compute()
        expected = step.logits.clone()
        try:
            step.replay = self.record(step)
            if torch.allclose(step.logits, expected, rtol=0.02, atol=0.02, equal_nan=bool(expected.isnan().any())):
                return
            reason = "a replayed step differs from a computed one"
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
        warnings.warn(f"steps are not recorded on this GPU, so writing is slower: {reason}", stacklevel=2)
        self.records, step.replay = False, None
        step.compute()  # once more, since a wrong replay may have left wrong keys and values
