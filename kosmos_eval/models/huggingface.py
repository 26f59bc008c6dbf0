"""Any image-text-to-text model of Hugging Face's transformers behind the Model protocol.

Rows are batched only where that cannot change what they say: all of one shape; for scoring also padded on the right,
in families where a test proves it (`Dialect.pads`). Texts are never written from padded rows.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from kosmos_eval.data.images import load as load_image
from kosmos_eval.errors import CheckpointError, KosmosEvalError, RequestTooLongError
from kosmos_eval.models.batching import Inputs, batches, collate
from kosmos_eval.models.dialects import Dialect, UnfitError, dialect_of
from kosmos_eval.models.locate import fingerprint
from kosmos_eval.models.writing import settle, write
from kosmos_eval.prompt import Segment
from kosmos_eval.request import (
    Choice,
    ChoiceScore,
    Generate,
    Generated,
    Request,
    Response,
    Score,
    StageResult,
    assemble,
    images_of,
)

ROWS = 8
"""Rows a pass. They change results by rounding only."""
_WINDOW = 4
"""So many batches are looked at together, to find rows of one shape."""


@dataclass(slots=True, eq=False)
class _Row:
    """One request on its way through its stages."""

    index: int
    request: Request
    outputs: dict[str, Generated] = field(default_factory=dict)
    results: list[StageResult] = field(default_factory=list)
    pixels: str | None = None
    failure: str | None = None
    fits: bool = True

    def fail(self, error: Exception) -> None:
        self.failure = str(error)
        self.fits = not isinstance(error, (RequestTooLongError, UnfitError))

    def finish(self, result: StageResult) -> None:
        self.results.append(result)
        if result.generated is not None:
            self.outputs[result.name] = result.generated

    def response(self) -> Response:
        results = () if self.failure else tuple(self.results)
        return Response(self.request.id, results, self.failure, self.fits, self.pixels)


@dataclass(slots=True, eq=False)
class _Read:
    """One choice and its target's ids."""

    name: str
    tail: list[int]
    logprob: float = 0.0
    greedy: bool = False


@dataclass(slots=True, eq=False)
class _Pass:
    """A row of tensors for the network, whose row it is, and what is done with it: `act` written or `reads` weighed.

    Targets begin behind position `last` of what the network gives logits for."""

    row: _Row
    inputs: Inputs
    last: int = 0
    act: Generate | None = None
    reads: list[_Read] = field(default_factory=list)

    @property
    def kind(self) -> object:
        return self.act


class HuggingFaceModel:
    """An image-text-to-text model, asked greedily or by log-likelihood from the same plans as ours.

    >>> model = HuggingFaceModel.load(folder, "hf:llava-hf/llava-1.5-7b-hf")
    """

    def __init__(self, model: Any, dialect: Dialect, name: str, folder: Path, rows: int = ROWS) -> None:
        self.model, self.dialect, self.name, self.folder, self.rows = model, dialect, name, folder, rows
        self.positions: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        settle(model, dialect)

    @classmethod
    def load(
        cls, folder: Path, name: str, device: str = "cpu", dtype: str = "float32", rows: int = ROWS
    ) -> HuggingFaceModel:
        """Loads a checkpoint folder: safetensors only, and no code from it. Raises CheckpointError for any other."""
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

        safe: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        try:
            config = AutoConfig.from_pretrained(folder, **safe)
            processor = None if config.model_type == "kosmos-2" else AutoProcessor.from_pretrained(folder, **safe)
            dialect = dialect_of(folder, config, processor, load_image)
            model = AutoModelForImageTextToText.from_pretrained(
                folder, dtype=getattr(torch, dtype), use_safetensors=True, **safe
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{folder}: no image-text-to-text model that can be run ({reason})") from None
        network: Any = model
        return cls(network.to(device).eval(), dialect, name, folder, rows)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.folder)

    @property
    def info(self) -> Mapping[str, Any]:
        import transformers

        return {
            "device": str(self.model.device),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "positions": self.positions,
            "architecture": type(self.model).__name__,
            "transformers": transformers.__version__,
        }

    @torch.inference_mode()
    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Response]]:
        """Answers a stream of requests window by window, all rows of a window stage by stage."""
        numbered = enumerate(requests)
        while rows := [_Row(index, request) for index, request in islice(numbered, self.rows * _WINDOW)]:
            for stage in range(max(len(row.request.stages) for row in rows)):
                self._stage([r for r in rows if r.failure is None and stage < len(r.request.stages)], stage)
            yield from ((row.index, row.response()) for row in rows)

    def _stage(self, rows: Sequence[_Row], k: int) -> None:
        passes: list[_Pass] = []
        for row in rows:
            try:
                passes += self._passes(row, k)
            except KosmosEvalError as error:
                row.fail(error)
        writing = [p for p in passes if p.act is not None]
        for batch in batches(writing, self.rows, pads=False):
            self._write(batch, k)
        for batch in batches([p for p in passes if p.act is None], self.rows, pads=self.dialect.pads):
            self._weigh(batch)
        reads = {row: [r for p in passes if p.row is row for r in p.reads] for row in rows}
        for row in rows:
            act = row.request.stages[k].act
            if row.failure is None and isinstance(act, Score):
                by_name = {r.name: r for r in reads[row]}
                scores = (by_name[c.name] for c in act.choices)
                choices = tuple(ChoiceScore(r.name, r.logprob, len(r.tail), r.greedy) for r in scores)
                row.finish(StageResult(row.request.stages[k].name, choices=choices))

    def _passes(self, row: _Row, k: int) -> list[_Pass]:
        """What the network must be run on for one stage of one request."""
        sequence = assemble(row.request, k, row.outputs)
        act = row.request.stages[k].act
        if k == 0:
            row.pixels = _contents(row.request)
        if isinstance(act, Score):
            return self._weighing(row, sequence, act.choices)
        inputs = self.dialect.write(sequence)
        self._check_length(inputs["input_ids"].shape[1] + act.max_tokens)
        return [_Pass(row, inputs, act=act)]

    def _weighing(self, row: _Row, sequence: Sequence[Segment], choices: Sequence[Choice]) -> list[_Pass]:
        """Passes for the choices of a request. A target's last token is never run, so choices of one token behind one
        context are read off a single pass."""
        written: dict[tuple[Segment, ...], Inputs] = {}
        passes: dict[tuple[tuple[Segment, ...], int, tuple[int, ...]], _Pass] = {}
        for choice in choices:
            if choice.target_ids is not None:
                raise UnfitError("a choice is given as token ids of another tokenizer")
            before = [*sequence, *choice.segments]
            if choice.segments not in written:
                written[choice.segments] = self.dialect.write(before)
            inputs = written[choice.segments]
            cut, tail = self.dialect.tail(before, choice.target)
            if not tail:
                raise UnfitError(f"choice {choice.name!r} adds no token")
            key = choice.segments, cut, tuple(tail[:-1])
            if key not in passes:
                passes[key] = _Pass(row, *self.dialect.continued(inputs, cut, tail[:-1]))
            self._check_length(passes[key].inputs["input_ids"].shape[1] + 1)
            passes[key].reads.append(_Read(choice.name, tail))
        return list(passes.values())

    def _check_length(self, needed: int) -> None:
        if self.positions is not None and needed > self.positions:
            raise RequestTooLongError(
                f"needs {needed} positions, the model has {self.positions}: ask for fewer shots or a smaller max_tokens"
            )

    def _collated(self, batch: Sequence[_Pass]) -> tuple[Any, Inputs]:
        inputs = collate([p.inputs for p in batch], self.dialect.pad, self.model.device, self.model.dtype)
        return self.dialect.network(self.model, inputs), inputs

    def _write(self, batch: Sequence[_Pass], k: int) -> None:
        network, inputs = self._collated(batch)
        act = batch[0].act
        assert act is not None
        try:
            texts = write(network, inputs, act, self.dialect)
        except (ValueError, TypeError) as error:
            return _refused(batch, error)
        for one, text in zip(batch, texts, strict=True):
            one.row.finish(StageResult(one.row.request.stages[k].name, text))
        return None

    def _weigh(self, batch: Sequence[_Pass]) -> None:
        network, inputs = self._collated(batch)
        longest = inputs.get("decoder_input_ids", inputs["input_ids"]).shape[1]
        kept = longest - min(p.last for p in batch)
        takes = inspect.signature(network.forward).parameters
        how = {"logits_to_keep": kept} if "logits_to_keep" in takes else {}
        try:
            logits = network(**inputs, **how).logits
        except (ValueError, TypeError) as error:
            return _refused(batch, error)
        start = longest - logits.shape[1]
        for line, one in zip(logits, batch, strict=True):
            for read in one.reads:
                rows = line[one.last - start :][: len(read.tail)].float().log_softmax(dim=-1)
                ids = torch.tensor(read.tail, device=rows.device)
                read.logprob = float(rows.gather(1, ids[:, None]).cpu().double().sum())
                read.greedy = bool((rows.argmax(dim=-1) == ids).all())
        return None


def _refused(batch: Sequence[_Pass], error: Exception) -> None:
    """A prompt that the model itself does not take, such as a text without a picture, fails its own rows only."""
    reason = " ".join(str(error).split())[:200]
    for one in batch:
        one.row.fail(UnfitError(f"the model refuses the prompt ({type(error).__name__}: {reason})"))


def _contents(request: Request) -> str | None:
    """A hash of the contents of a request's pictures, in their order."""
    digest = hashlib.blake2b(digest_size=8)
    images = images_of(request)
    for image in images:
        picture = load_image(image)
        digest.update(f"{picture.size}".encode() + picture.tobytes())
    return digest.hexdigest() if images else None
