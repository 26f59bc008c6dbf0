"""The bundled Kosmos model: network, processor and engine of one checkpoint behind the Model protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kosmos_eval.data.images import load as load_image
from kosmos_eval.engine.engine import Engine
from kosmos_eval.engine.image_files import image_files
from kosmos_eval.engine.limits import Limits
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.kosmos.model import Kosmos
from kosmos_eval.kosmos.processor import Processor
from kosmos_eval.kosmos.weights import fingerprint, load_network
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Choice, Generate, Request, Response, Score, Stage


@dataclass(frozen=True, slots=True)
class ModelInput:
    """What Hugging Face's model would be fed for one prompt, without a batch dimension.

    input_ids: (tokens,) int64, placeholders in image slots; image_mask: (tokens,) bool; pixel_values: (images, 3,
    height, width).
    """

    input_ids: Tensor
    image_mask: Tensor
    pixel_values: Tensor


class KosmosModel:
    """A KOSMOS-2 checkpoint, ready to be asked.

    >>> model = KosmosModel.load(folder, "kosmos-mini")
    >>> model.score([(Prompt(picture, "Question: is it red? Answer:"), [" yes", " no"])])
    """

    def __init__(
        self, network: Kosmos, processor: Processor, name: str, folder: Path, limits: Limits | None = None
    ) -> None:
        self.network, self.processor, self.name, self.folder = network, processor, name, folder
        self.engine = Engine(network, processor, load_image, limits, image_files(self._image_tokens))

    def _image_tokens(self) -> str:
        """A name for what decides the image tokens of a picture."""
        return f"{self.fingerprint}-{str(self.network.dtype).removeprefix('torch.')}"

    @classmethod
    def load(
        cls, folder: Path, name: str, device: str = "cpu", dtype: str = "float32", limits: Limits | None = None
    ) -> KosmosModel:
        """Loads a checkpoint folder in Hugging Face's Kosmos-2 format; raises CheckpointError for anything else."""
        processor = Processor.load(folder)
        network = load_network(folder, device=device, dtype=getattr(torch, dtype))
        return cls(network, processor, name, folder, limits)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the checkpoint's files; device, dtype and sizes are not in it."""
        return fingerprint(self.folder)

    @property
    def info(self) -> Mapping[str, Any]:
        return {
            "device": str(self.network.device),
            "dtype": str(self.network.dtype).removeprefix("torch."),
            "positions": self.processor.positions,
            "kv_bytes": self.engine.kv_bytes,
            "pass_tokens": self.engine.pass_tokens,
        }

    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Response]]:
        """Answers a stream of requests, in the order that suits the engine."""
        return self.engine.run(requests)

    def _answers(self, requests: list[Request]) -> list[Response]:
        answers = dict(self.run(requests))
        for answer in answers.values():
            if answer.error:
                raise KosmosEvalError(answer.error)
        return [answers[i] for i in range(len(requests))]

    def score(self, items: Iterable[tuple[Prompt | str, Sequence[str]]]) -> list[list[float]]:
        """Log-probabilities of continuations, each appended verbatim: give ` yes` its space.

        Returns, for every prompt, the summed natural log-probability of each of its continuations, in their order.
        """
        requests = []
        for i, (prompt, choices) in enumerate(items):
            if isinstance(choices, str):
                raise TypeError(f"score takes a list of continuations for each prompt, not the string {choices!r}")
            act = Score(tuple(Choice(str(k), text) for k, text in enumerate(choices)))
            requests.append(Request(str(i), (), (Stage("answer", _segments(prompt), act),)))
        return [[c.logprob for c in answer.stages[-1].choices] for answer in self._answers(requests)]

    def generate(
        self, prompts: Iterable[Prompt | str], max_new_tokens: int = 64, num_beams: int = 1,
        length_penalty: float = 1.0, no_repeat_ngram_size: int = 0, stop: Sequence[str] = (),
    ) -> list[str]:  # fmt: skip
        """Continuations of prompts, greedy or by beam search; the names of the arguments are Hugging Face's."""
        act = Generate(max_new_tokens, num_beams, length_penalty, no_repeat_ngram_size, tuple(stop))
        stages = [(Stage("answer", _segments(p), act),) for p in prompts]
        requests = [Request(str(i), (), s) for i, s in enumerate(stages)]
        return [answer.text or "" for answer in self._answers(requests)]

    @torch.no_grad()
    def embed_images(self, images: Sequence[Image]) -> Tensor:
        """Unit vectors (images, width), float32, on the CPU: the vision tower's class token, after its last norm.

        Raises ImageError for a picture that cannot be read.
        """
        pixels = torch.stack([self.processor.preprocessing(load_image(image)) for image in images])
        tokens = self.network.vision(pixels.to(self.network.device, self.network.dtype))
        return F.normalize(tokens[:, 0].float().cpu(), dim=-1)

    def encode(self, prompt: Prompt | str) -> ModelInput:
        """What Hugging Face's model would be fed for a prompt."""
        encoded = self.processor.encode(_segments(prompt))
        size = self.network.config.vision.image_size
        pixels = [self.processor.preprocessing(load_image(image)) for image in encoded.images]
        return ModelInput(
            encoded.input_ids, encoded.image_mask, torch.stack(pixels) if pixels else torch.empty(0, 3, size, size)
        )

    @torch.no_grad()
    def forward_logits(self, prompt: Prompt | str) -> Tensor:
        """Logits (tokens, vocabulary) of a whole prompt, image positions included: one plain pass without any cache.

        Detached, float32, on the CPU. The reference that the engine is checked against.
        """
        inputs, device = self.encode(prompt), self.network.device
        if len(inputs.input_ids) > self.processor.positions:
            raise KosmosEvalError(
                f"the prompt has {len(inputs.input_ids)} positions, the model has {self.processor.positions}"
            )
        logits = self.network(
            inputs.input_ids[None].to(device), inputs.image_mask[None].to(device), inputs.pixel_values.to(device)
        )
        return logits[0].float().cpu().clone()


def _segments(prompt: Prompt | str) -> tuple[Any, ...]:
    return (prompt if isinstance(prompt, Prompt) else Prompt(prompt)).segments
