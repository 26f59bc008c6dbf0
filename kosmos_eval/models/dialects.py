"""Dialects: how a prompt is written for the families of Hugging Face's image-text models.

A dialect makes one row of tensors of a prompt, and says which token ids a target adds to it. Rows are written one at a
time, so that no processor pads them.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from kosmos_eval.engine.keys import common
from kosmos_eval.errors import KosmosEvalError, PromptError
from kosmos_eval.kosmos.processor import Processor
from kosmos_eval.models.batching import Inputs, continued
from kosmos_eval.prompt import Image, Output, Segment, Tag, Text, Tokens

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Load = Callable[[Image], "PILImage"]


class UnfitError(PromptError):
    """A prompt that this model has no way to be asked, such as two pictures where it takes one."""


class Dialect(ABC):
    """Writes prompts for one model. `pads`: scores of its rows do not change when they are padded on the right."""

    pads = False

    eos: tuple[int, ...]
    """Ids that end a text."""
    pad: int
    ids: dict[str, int]
    """Special tokens by name."""
    decoder_start: int | None = None
    """What a decoder begins with that is not given the prompt itself; None where prompt and answer are one sequence."""

    @abstractmethod
    def write(self, segments: Sequence[Segment]) -> Inputs:
        """A prompt as tensors of one row, `input_ids` and `attention_mask` (1, tokens) among them.

        Raises UnfitError for what the model cannot be asked, ImageError for a picture that cannot be read.
        """

    @abstractmethod
    def tail(self, segments: Sequence[Segment], target: str) -> tuple[int, list[int]]:
        """What a target behind a prompt does to its ids: how many at the end go, and which come. Only these count."""

    def continued(self, inputs: Inputs, cut: int, ids: Sequence[int]) -> tuple[Inputs, int]:
        """A prompt's row without its last `cut` ids and with `ids` behind it, and where the logits of the first are."""
        return continued(inputs, cut, ids), inputs["input_ids"].shape[1] - cut - 1

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Generated ids to text, without special tokens."""

    def network(self, model: Any, inputs: Inputs) -> Any:
        """The module that takes such inputs."""
        return model


class TextDialect(Dialect):
    """Families whose prompt is one text: the processor puts image tokens where the image marker stands in it."""

    def __init__(self, processor: Any, config: Any, load: Load) -> None:
        self.processor, self.load = processor, load
        self.tokenizer = processor.tokenizer
        self.marker = str(getattr(processor, "image_token", None) or "<image>")
        special = {*self.tokenizer.all_special_tokens, self.marker}
        self.ids = {t: self.tokenizer.convert_tokens_to_ids(t) for t in special}
        self._special = re.compile("|".join(re.escape(t) for t in sorted(special) if len(t) > 2) or r"(?!)")
        self.eos = _end_ids(self.tokenizer, config)
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.eos[0]

    def plain(self, segment: Segment) -> str:
        """A segment that is no image as text. A special token that data spell out is taken apart: it stays text."""
        match segment:
            case Text(text):
                return self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
            case Tokens(ids):
                # SentencePiece decodes its first piece without the space that it carries.
                begins = str(self.tokenizer.convert_ids_to_tokens(ids[0])) if ids else ""
                return " " + self.decode(ids).lstrip(" ") if begins.startswith("▁") else self.decode(ids)
            case Tag("</line>"):
                return "\n"
            case Tag(name):
                raise UnfitError(f"the prompt has KOSMOS-2's special token {name}, which this model lacks")
            case Output(stage):
                raise PromptError(f"output {stage!r} stands in a sequence before it was generated")
        raise TypeError(f"an image has no text: {segment}")

    def text(self, segments: Sequence[Segment]) -> str:
        """The whole prompt, image markers included."""
        return "".join(self.marker if isinstance(s, Image) else self.plain(s) for s in segments).rstrip(" ")

    def call(self, text: str, images: list[PILImage]) -> Inputs:
        """The processor's tensors for one text."""
        return dict(self.processor(text=text, images=images or None, return_tensors="pt", **self._options(text)))

    def _options(self, text: str) -> dict[str, Any]:
        """A chat template may have written `<s>` already."""
        bos = self.tokenizer.bos_token
        return {"add_special_tokens": False} if bos and text.startswith(bos) else {}

    def write(self, segments: Sequence[Segment]) -> Inputs:
        images = [self.load(s) for s in segments if isinstance(s, Image)]
        try:
            return self.call(self.text(segments), images)
        except KosmosEvalError:
            raise
        except (ValueError, TypeError, IndexError, KeyError) as error:  # what processors raise for a prompt
            reason = " ".join(str(error).split())[:200]
            raise UnfitError(f"the model's processor refuses the prompt ({type(error).__name__}: {reason})") from None

    def tail(self, segments: Sequence[Segment], target: str) -> tuple[int, list[int]]:
        text = self.text(segments)
        options = self._options(text)
        # Behind a line break, as after "assistant\n", an answer has no space before it.
        target = target.lstrip() if text[-1:].isspace() else target
        before = self.tokenizer(text, **options)["input_ids"]
        whole = self.tokenizer(text + target, **options)["input_ids"]
        shared = common(np.array(before), np.array(whole))
        return len(before) - shared, whole[shared:]

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)


class Llava(TextDialect):
    """LLaVA without a chat template."""

    pads = True


class Chat(TextDialect):
    """Models with a chat template: the prompt is the user's turn, what was generated before is the assistant's."""

    def __init__(self, processor: Any, config: Any, load: Load) -> None:
        super().__init__(processor, config, load)
        self.pads = config.model_type == "llava"
        parts: list[Any] = [{"type": "text", "text": "first"}, {"type": "image"}, {"type": "text", "text": "last"}]
        probe = self._render([{"role": "user", "content": parts}])
        # Some templates move all images to the front; then the markers are written into the text.
        self._inline = not probe.index("first") < probe.find(self.marker) < probe.index("last")

    def _render(self, turns: list[dict[str, Any]]) -> str:
        return self.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    def text(self, segments: Sequence[Segment]) -> str:
        return self._render([{"role": role, "content": parts} for role, parts in self._turns(segments) if parts])

    def _turns(self, segments: Sequence[Segment]) -> Iterator[tuple[str, list[dict[str, str]]]]:
        said: list[Segment] = []
        for s in segments:
            if isinstance(s, Tokens):
                yield "user", self._parts(said)
                yield "assistant", self._parts([Text(self.plain(s))])
                said = []
            else:
                said.append(s)
        yield "user", self._parts(said)

    def _parts(self, said: Sequence[Segment]) -> list[dict[str, str]]:
        parts: list[dict[str, str]] = []
        for s in said:
            if isinstance(s, Image) and not self._inline:
                parts.append({"type": "image"})
                continue
            text = self.marker if isinstance(s, Image) else self.plain(s)
            if parts and parts[-1]["type"] == "text":
                parts[-1]["text"] += text
            else:
                parts.append({"type": "text", "text": text})
        for part in parts:  # what stands between pictures and text is the template's to say
            if part["type"] == "text":
                part["text"] = part["text"].strip()
        return parts


class OneInFront(TextDialect):
    """BLIP-2 and InstructBLIP: one image, before its text. No demonstrations with images."""

    pads = True

    def text(self, segments: Sequence[Segment]) -> str:
        images = sum(isinstance(s, Image) for s in segments)
        if images != 1:
            raise UnfitError(f"the model takes one image in front of its text; the prompt has {images}")
        return "".join(self.plain(s) for s in segments if not isinstance(s, Image)).strip(" ")


class OneInFrontEncoded(OneInFront):
    """BLIP-2 and InstructBLIP with FLAN-T5: the prompt goes to the encoder, the answer is the decoder's."""

    def __init__(self, processor: Any, config: Any, load: Load) -> None:
        super().__init__(processor, config, load)
        self.decoder_start = config.get_text_config().decoder_start_token_id

    def tail(self, segments: Sequence[Segment], target: str) -> tuple[int, list[int]]:
        return 0, self.tokenizer(target.strip(), add_special_tokens=False)["input_ids"]

    def continued(self, inputs: Inputs, cut: int, ids: Sequence[int]) -> tuple[Inputs, int]:
        return {**inputs, "decoder_input_ids": torch.tensor([[self.decoder_start, *ids]])}, 0


class Idefics(TextDialect):
    """IDEFICS, the open Flamingo: text attends to the image before it.

    Its own processor would fetch a text that is a URL, so ids, pixels and mask are made here; they equal its own.
    """

    pads = True

    def __init__(self, processor: Any, config: Any, load: Load) -> None:
        super().__init__(processor, config, load)
        self.image_id = self.ids["<image>"] = self.tokenizer.convert_tokens_to_ids("<image>")

    def text(self, segments: Sequence[Segment]) -> str:
        fence = "<fake_token_around_image>"
        written = self.tokenizer.bos_token
        for s in segments:
            if isinstance(s, Image):
                written = written.removesuffix(fence) + f"{fence}<image>{fence}"
            else:
                written += self.plain(s).strip(" ") if written.endswith(fence) else self.plain(s)
        return written.rstrip(" ")

    def _options(self, text: str) -> dict[str, Any]:
        return {"add_special_tokens": False}

    def call(self, text: str, images: list[PILImage]) -> Inputs:
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        side = self.processor.image_processor.image_size
        pixels = torch.zeros(1, 3, side, side)
        if images:
            found = self.processor.image_processor(images, return_tensors="pt")
            pixels = found if isinstance(found, Tensor) else found["pixel_values"]
        last = (ids == self.image_id).cumsum(dim=1) - 1  # the image that a position attends to; -1: none yet
        mask = last.unsqueeze(-1) == torch.arange(len(pixels))
        return {
            "input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels[None],
            "image_attention_mask": mask.long(),
        }  # fmt: skip


class Kosmos2(Dialect):
    """Hugging Face's own KOSMOS-2, fed by our processor: theirs takes one image a text.

    Rows without a picture go to its text model, since the whole one wants pixels.
    """

    pads = True

    def __init__(self, folder: Path, load: Load) -> None:
        self.processor, self.load = Processor.load(folder), load
        tokenizer = self.processor.tokenizer
        self.ids, self.eos, self.pad = tokenizer.ids, (tokenizer.eos,), tokenizer.pad

    def write(self, segments: Sequence[Segment]) -> Inputs:
        encoded = self.processor.encode(segments)
        ids = encoded.input_ids[None]
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if encoded.images:
            inputs["image_embeds_position_mask"] = encoded.image_mask[None].long()
            inputs["pixel_values"] = torch.stack([self.processor.preprocessing(self.load(i)) for i in encoded.images])
        return inputs

    def tail(self, segments: Sequence[Segment], target: str) -> tuple[int, list[int]]:
        before = self.processor.encode(segments).ids
        whole = self.processor.encode([*segments, Text(target)]).ids
        shared = common(np.array(before), np.array(whole))
        return len(before) - shared, list(whole[shared:])

    def decode(self, ids: Sequence[int]) -> str:
        return self.processor.tokenizer.decode(list(ids))

    def network(self, model: Any, inputs: Inputs) -> Any:
        return model if "pixel_values" in inputs else model.text_model


_FAMILIES: dict[str, type[TextDialect]] = {
    "idefics": Idefics, "instructblip": OneInFront, "blip-2": OneInFront, "llava": Llava,
}  # fmt: skip
_ENCODERS: dict[str, type[TextDialect]] = {"instructblip": OneInFrontEncoded, "blip-2": OneInFrontEncoded}


def dialect_of(folder: Path, config: Any, processor: Any, load: Load) -> Dialect:
    """How the model of a checkpoint folder is asked. `processor` is Hugging Face's, not needed for KOSMOS-2.

    Raises ValueError for an encoder-decoder of a family that is not known here.
    """
    if config.model_type == "kosmos-2":
        return Kosmos2(folder, load)
    if config.get_text_config().is_encoder_decoder:
        if config.model_type not in _ENCODERS:
            raise ValueError(f"{config.model_type} is an encoder-decoder; of these {', '.join(_ENCODERS)} can be asked")
        return _ENCODERS[config.model_type](processor, config, load)
    if getattr(processor, "chat_template", None):
        return Chat(processor, config, load)
    return _FAMILIES.get(config.model_type, TextDialect)(processor, config, load)


def _end_ids(tokenizer: Any, config: Any) -> tuple[int, ...]:
    """The tokenizer's end of a text, and those that the config names besides."""
    named = getattr(config.get_text_config(), "eos_token_id", None)
    ids = [tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])]
    return tuple(dict.fromkeys(i for i in ids if i is not None))
