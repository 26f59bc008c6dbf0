"""How much is done at once, and what does not fit the model at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kosmos_eval.errors import RequestTooLongError
from kosmos_eval.kosmos.processor import Processor
from kosmos_eval.prompt import Output, Tokens
from kosmos_eval.request import Generate, Generated, Request, Score, Stage, assemble, images_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes that trade memory for speed; none changes a result beyond rounding.

    window, pictures: requests whose common parts are found together, and pictures they may show; pass_tokens: new
    positions per pass of the network; rows: texts written together, as far as their own keys and values fit kv_bytes;
    slack: positions a slot has for the words between two texts; image_bytes: image tokens kept for reuse.
    """

    window: int = 256
    pictures: int = 1024
    pass_tokens: int = 512
    rows: int = 64
    kv_bytes: int = 1 << 30
    slack: int = 64
    image_bytes: int = 1 << 30

    @classmethod
    def on(cls, device: torch.device) -> Limits:
        """Sizes for a device. On a GPU: passes and batches large enough to keep it busy, memory by what it has in all.

        Not by what is free at the moment: the same kind of machine is to compute the same batches.
        """
        if device.type != "cuda":
            return cls()
        import torch

        memory = torch.cuda.get_device_properties(device).total_memory
        return cls(pass_tokens=4096, rows=256, kv_bytes=memory // 8, image_bytes=memory // 16)


def windows(requests: Iterable[Request], limits: Limits) -> Iterator[list[tuple[int, Request]]]:
    """The stream in windows, bounded in requests and in pictures, by what is in it alone."""
    window: list[tuple[int, Request]] = []
    pictures: set[str] = set()
    for index, request in enumerate(requests):
        names = {image.name for image in images_of(request)}
        full = len(window) == limits.window or len(pictures | names) > limits.pictures
        if window and full:
            yield window
            window, pictures = [], set()
        window.append((index, request))
        pictures |= names
    if window:
        yield window


def _most_written(request: Request) -> dict[str, Generated]:
    """Outputs as long as they may become."""
    return {
        s.name: Generated("", (0,) * s.act.max_tokens, "length") for s in request.stages if isinstance(s.act, Generate)
    }


def _most_added(stage: Stage, processor: Processor, written: dict[str, Generated]) -> int:
    """Positions that a stage may add to its sequence, counting texts it quotes at their longest."""
    quoted = sum(len(written[s.stage].ids) for s in stage.segments if isinstance(s, Output))
    if isinstance(stage.act, Score):
        # The tokens of a choice alone, without `<s>`: joining it to its context cannot make them more.
        lengths = [
            processor.length([Tokens(()), *c.segments]) + len(c.target_ids or processor.tokenizer.encode_text(c.target))
            for c in stage.act.choices
        ]
        return quoted + max(lengths, default=0)
    return quoted + stage.act.max_tokens


def positions_needed(request: Request, processor: Processor) -> int:
    """Positions of the longest sequence that a request can lead to, every text at its `max_tokens`."""
    written = _most_written(request)
    return max(
        processor.length(assemble(request, k, written)) + _most_added(stage, processor, written)
        for k, stage in enumerate(request.stages)
    )


def check_length(request: Request, processor: Processor) -> None:
    """Raises RequestTooLongError for a request that could need more positions than the model has."""
    needed = positions_needed(request, processor)
    if needed > processor.positions:
        raise too_long(request, needed, processor.positions)


def too_long(request: Request, needed: int, positions: int) -> RequestTooLongError:
    """The error for a request that needs more positions than there are."""
    return RequestTooLongError(
        f"request {request.id!r} may need {needed} positions, the model has {positions}: "
        "ask for fewer shots or set a smaller max_tokens in the prompt"
    )
