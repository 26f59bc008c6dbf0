"""The checks: the same requests answered in ways that must agree."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from kosmos_eval.benchmarks.measure import TOLERANCE, clock
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.examination.difference import Difference, answers, difference
from kosmos_eval.examination.report import Check, State
from kosmos_eval.examination.uncached import uncached
from kosmos_eval.models.kosmos import KosmosModel
from kosmos_eval.models.locate import DTYPES
from kosmos_eval.request import Request, Response

Progress = Callable[[str], None]

SIZES = (1, 4)
"""Requests given at once, besides all of them."""
REFERENCE = "float32"
PIXELS = 1e-5
"""How far prepared pixels (about -2 to 2) may lie apart."""


class Examination:
    """A loaded model and what it is asked. Each way of asking begins with an engine that remembers nothing."""

    def __init__(self, model: KosmosModel, requests: Sequence[Request], progress: Progress) -> None:
        self.model, self.requests, self.progress = model, list(requests), progress
        self.dtype: str = model.info["dtype"]
        self.tolerance = TOLERANCE.get(model.network.dtype)
        self.now = clock(model.network.device)

    def checks(self) -> Iterator[Check]:
        """All checks, in the order they are told."""
        self.progress("all requests together")
        plain = self._answers(self.requests)
        yield self._batch(plain)
        yield self._order(plain)
        yield self._cache(plain)
        yield from self._dtypes(plain)
        yield self._inputs()
        yield self._parity(plain)

    def _answers(self, requests: Sequence[Request], model: KosmosModel | None = None) -> list[Response]:
        m = model or self.model
        return answers(KosmosModel(m.network, m.processor, m.name, m.folder, m.engine.limits), requests)

    def _in_parts(self, size: int) -> list[Response]:
        parts = (self.requests[i : i + size] for i in range(0, len(self.requests), size))
        return [answer for part in parts for answer in self._answers(part)]

    def _judged(self, name: str, about: str, found: Difference) -> Check:
        """A check of what runs do: nothing may change beyond rounding."""
        far = self.tolerance is not None and found.largest > self.tolerance
        unsafe = far or found.flipped or found.changed or found.largest == float("inf")
        return _check(name, about, "not safe" if unsafe else "safe", found, self.tolerance)

    def _batch(self, plain: list[Response]) -> Check:
        found = Difference()
        for size in SIZES:
            self.progress(f"{size} at a time")
            for one, other in zip(plain, self._in_parts(size), strict=True):
                found.add(one, other)
        sizes = " and ".join(map(str, SIZES))
        return self._judged("batch", f"all {len(plain)} requests together, against {sizes} at a time", found)

    def _order(self, plain: list[Response]) -> Check:
        found = Difference()
        places = list(range(len(plain)))
        for order in (places[::-1], random.Random(0).sample(places, len(places))):
            self.progress("in another order")
            for place, answer in zip(order, self._answers([self.requests[i] for i in order]), strict=True):
                found.add(plain[place], answer)
        return self._judged("order", "as planned, against reversed and shuffled", found)

    def _cache(self, plain: list[Response]) -> Check:
        self.progress("without a cache")
        again = [uncached(self.model, r, answer) for r, answer in zip(self.requests, plain, strict=True)]
        return self._judged("cache", "keys and values shared, against one whole pass each", difference(plain, again))

    def _dtypes(self, plain: list[Response]) -> Iterator[Check]:
        """Each other dtype against float32; of these, the dtype in use is judged."""
        precise = plain
        began = self.now()
        if self.dtype != REFERENCE:
            self.progress(REFERENCE)
            precise = self._answers(self.requests, self._loaded(REFERENCE))
        else:
            self._answers(self.requests)  # again, for its time
        seconds = self.now() - began
        for dtype in (d for d in DTYPES if d != REFERENCE):
            self.progress(dtype)
            yield self._dtype(dtype, precise, seconds)

    def _dtype(self, dtype: str, precise: list[Response], seconds: float) -> Check:
        about = f"{dtype} against {REFERENCE}"
        model = self.model if dtype == self.dtype else self._loaded(dtype)
        began = self.now()
        try:
            other = self._answers(self.requests, model)
        except (KosmosEvalError, RuntimeError) as error:  # torch lacks a kernel, or a value overflows
            return Check(name=dtype, about=about, state="not measured", note=" ".join(str(error).split())[:120])
        took = self.now() - began
        found = difference(precise, other)
        in_use = dtype == self.dtype
        flips = found.flipped or found.largest == float("inf")
        state: State = "safe" if not flips else "not safe" if in_use else "differs"
        note = f"{took / seconds:.1f} times the time of {REFERENCE}" + ("" if in_use else "; not in use")
        return _check(dtype, about, state, found, None, note)

    def _loaded(self, dtype: str) -> KosmosModel:
        m = self.model
        return KosmosModel.load(m.folder, m.name, str(m.network.device), dtype, m.engine.limits)

    def _inputs(self) -> Check:
        """What is fed, against Hugging Face's processor, of prompts that it can write: one picture in front."""
        from kosmos_eval.examination.inputs import compare_inputs

        self.progress("Hugging Face's processor")
        about = "token ids and pixels, against Hugging Face's processor"
        try:
            found = compare_inputs(self.model, self.requests)
        except (OSError, ValueError, ImportError) as error:
            return Check(name="inputs", about=about, state="not measured", note=" ".join(str(error).split())[:120])
        unsafe = found.changed or found.largest > PIXELS
        return _check("inputs", about, "not safe" if unsafe else "safe", found, PIXELS)

    def _parity(self, plain: list[Response]) -> Check:
        from kosmos_eval.models.huggingface import HuggingFaceModel

        self.progress("Hugging Face's model")
        m = self.model
        theirs = HuggingFaceModel.load(m.folder, f"hf:{m.name}", str(m.network.device), self.dtype, rows=1)
        found = difference(plain, [answers(theirs, [request])[0] for request in self.requests])
        return self._judged("parity", "against Hugging Face's Kosmos2 at batch 1", found)


def _check(name: str, about: str, state: State, found: Difference, tolerance: float | None, note: str = "") -> Check:
    return Check(
        name=name, about=about, state=state, largest=found.largest, tolerance=tolerance, choices=found.choices,
        flipped=found.flipped, texts=found.texts, changed=found.changed, note=note,
    )  # fmt: skip
