"""The processor: segments to what the network is fed. Several images anywhere in one text, or none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kosmos_eval.errors import PromptError
from kosmos_eval.kosmos.config import KosmosConfig, read_config
from kosmos_eval.kosmos.images import Preprocessing
from kosmos_eval.kosmos.tokenizer import KosmosTokenizer
from kosmos_eval.prompt import Image, Output, Segment, Tag, Text, Tokens, describe


@dataclass(frozen=True, slots=True)
class Encoded:
    """One sequence. `ids` hold placeholders where `spans` (start of the slots, image) puts an image's tokens."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, Image], ...]
    image_tokens: int

    @property
    def input_ids(self) -> Tensor:
        """(tokens,) int64."""
        return torch.tensor(self.ids, dtype=torch.int64)

    @property
    def image_mask(self) -> Tensor:
        """(tokens,) bool: True in the slots of images."""
        mask = torch.zeros(len(self.ids), dtype=torch.bool)
        for start, _ in self.spans:
            mask[start : start + self.image_tokens] = True
        return mask

    @property
    def images(self) -> tuple[Image, ...]:
        return tuple(image for _, image in self.spans)

    def __len__(self) -> int:
        return len(self.ids)


class Processor:
    """Tokenizer and image preprocessing of one checkpoint.

    One image and a text give the ids of Hugging Face's `Kosmos2Processor`: `<s> <image> 64 placeholders </image> text`.
    Adjacent texts are joined before they are tokenised; a text is tokenised apart from images, tags and given tokens.
    """

    def __init__(self, tokenizer: KosmosTokenizer, preprocessing: Preprocessing, config: KosmosConfig) -> None:
        self.tokenizer, self.preprocessing = tokenizer, preprocessing
        self.image_tokens = config.latent_query_num
        self.positions = config.text.max_position_embeddings
        self.vocabulary = config.text.vocab_size
        first = tokenizer.unk + 1
        self._image = (tokenizer.tag("<image>"), *range(first, first + self.image_tokens), tokenizer.tag("</image>"))

    @classmethod
    def load(cls, folder: Path) -> Processor:
        """Reads a checkpoint's tokenizer and preprocessor; no weights are touched."""
        config = read_config(folder / "config.json")
        return cls(KosmosTokenizer.load(folder), Preprocessing.load(folder, config.vision.image_size), config)

    def encode(self, segments: Iterable[Segment]) -> Encoded:
        """A sequence of segments to ids. Begins with `<s>` unless the sequence begins with given tokens."""
        segments = list(segments)
        given = bool(segments) and isinstance(segments[0], Tokens)
        ids: list[int] = [] if given else [self.tokenizer.bos]
        spans: list[tuple[int, Image]] = []
        run: list[str] = []
        after_image = False

        def flush() -> None:
            nonlocal after_image
            text = "".join(run).rstrip()
            run.clear()
            # Hugging Face puts a space between an image and its text; trailing blanks fall to the tag that follows.
            if text.strip():
                ids.extend(self.tokenizer.encode_text(" " + text.lstrip() if after_image else text))
                after_image = False

        for s in segments:
            if isinstance(s, Text):
                run.append(s.text)
                continue
            flush()
            after_image = isinstance(s, Image)
            match s:
                case Image():
                    spans.append((len(ids) + 1, s))
                    ids.extend(self._image)
                case Tag(name):
                    ids.append(self._tag(name))
                case Tokens(given_ids):
                    ids.extend(self._checked(given_ids))
                case Output():
                    raise PromptError(f"output {s.stage!r} stands in a sequence before it was generated")
        flush()
        return Encoded(tuple(ids), tuple(spans), self.image_tokens)

    def _checked(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        for i in ids:
            if not 0 <= i < self.vocabulary:
                raise PromptError(f"token id {i} is not in the model's vocabulary of {self.vocabulary}")
        return ids

    def _tag(self, name: str) -> int:
        try:
            return self.tokenizer.tag(name)
        except KeyError:
            raise PromptError(f"the checkpoint's tokenizer has no special token {name!r}") from None

    def length(self, segments: Iterable[Segment]) -> int:
        """How many positions a sequence takes."""
        return len(self.encode(segments))

    def readable(self, segments: Iterable[Segment]) -> str:
        """A sequence as a person reads it, images by name."""
        return "".join(f"<image:{text}>" if kind == "image" else text for kind, text in describe(segments))
