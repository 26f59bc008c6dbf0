"""What runs in a worker: one replica of the model, asked unit by unit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kosmos_eval.environment import versions
from kosmos_eval.errors import DataError, KosmosEvalError
from kosmos_eval.executor import ask
from kosmos_eval.models.base import Model
from kosmos_eval.request import Request
from kosmos_eval.scale.dispatch import Reply
from kosmos_eval.work import WorkUnit

Load = Callable[[], Model]
REPORT_SECONDS = 0.5
"""Answers are sent together, so often."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker is: two of them may only answer the same run if they would say the same."""

    node: str
    address: str
    fingerprint: str
    versions: Mapping[str, str]


class Replica:
    """The class of the Ray actor. Errors that a user can mend are returned, not raised: Ray would wrap them."""

    def __init__(self, load: Load, folder: str) -> None:
        self._load, self._folder = load, folder

    def start(self) -> Report | KosmosEvalError:
        """Makes the model known; its weights are read at the first unit."""
        import ray

        with suppress(OSError):
            os.chdir(self._folder)  # relative paths of data and checkpoints mean what they mean to the driver
        try:
            self.model = self._load()
            fingerprint = self.model.fingerprint
        except KosmosEvalError as error:
            return error
        return Report(ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address(), fingerprint, versions())

    def ask(self, requests: Sequence[Request], witness: Path | None) -> Iterator[list[Reply] | KosmosEvalError]:
        """The answers to a unit, some at a time. `witness` is one of its pictures, which the driver sees."""
        if witness is not None and not witness.exists():
            yield DataError(f"{witness}: not there; data have to lie at the same path on every node")
            return
        replies: list[Reply] = []
        sent = time.monotonic()
        try:
            for answer in ask(self.model, WorkUnit(0, tuple(requests))):
                replies.append((answer.index, answer.response, answer.seconds, answer.files))
                if time.monotonic() - sent > REPORT_SECONDS:
                    yield replies
                    replies, sent = [], time.monotonic()
        except KosmosEvalError as error:
            yield error
            return
        yield replies
