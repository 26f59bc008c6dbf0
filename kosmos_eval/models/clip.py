"""CLIP and its kin behind the Model protocol: zero-shot, by the likeness of a picture to texts or to other pictures.

A `score` act whose choices are texts is answered by the likeness of the query's picture to each target; one whose
choices are pictures (Raven), by the likeness of each candidate to the mean of the pictures that are asked about. The
log-probabilities are those of a softmax over the choices at the model's own temperature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kosmos_eval.data.images import load as load_image
from kosmos_eval.errors import CheckpointError, KosmosEvalError
from kosmos_eval.models.dialects import UnfitError
from kosmos_eval.models.locate import fingerprint
from kosmos_eval.prompt import Image
from kosmos_eval.request import ChoiceScore, Request, Response, Score, StageResult, assemble, images_of

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

BATCH = 16
"""Pictures a pass."""
_KEPT = 4096
"""Pictures whose features are kept: candidates and demonstrations come again."""


class ClipModel:
    """A model with an image and a text encoder of one space, as transformers' `CLIPModel` or `SiglipModel`.

    >>> model = ClipModel.load(folder, "clip:openai/clip-vit-base-patch32")
    """

    def __init__(self, model: Any, processor: Any, name: str, folder: Path) -> None:
        self.model, self.processor, self.name, self.folder = model, processor, name, folder
        self._pictures: dict[str, Tensor] = {}
        self._texts: dict[str, Tensor] = {}

    @classmethod
    def load(cls, folder: Path, name: str, device: str = "cpu", dtype: str = "float32") -> ClipModel:
        """Loads a checkpoint folder: safetensors only, and no code from it. Raises CheckpointError for any other."""
        from transformers import AutoModelForZeroShotImageClassification, AutoProcessor

        safe: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        try:
            processor = AutoProcessor.from_pretrained(folder, **safe)
            model: Any = AutoModelForZeroShotImageClassification.from_pretrained(
                folder, dtype=getattr(torch, dtype), use_safetensors=True, **safe
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{folder}: no CLIP-like model that transformers loads ({reason})") from None
        return cls(model.to(device).eval(), processor, name, folder)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.folder)

    @property
    def info(self) -> Mapping[str, Any]:
        import transformers

        return {
            "device": str(self.model.device),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "positions": None,
            "architecture": type(self.model).__name__,
            "transformers": transformers.__version__,
        }

    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Response]]:
        """Answers a stream of requests, one by one."""
        for index, request in enumerate(requests):
            try:
                yield index, self._answer(request)
            except KosmosEvalError as error:
                yield index, Response(request.id, error=str(error), fits=not isinstance(error, UnfitError))

    def _answer(self, request: Request) -> Response:
        act = request.stages[0].act
        if len(request.stages) > 1 or not isinstance(act, Score):
            raise UnfitError("CLIP writes no text: it is asked by prompts of one stage that scores")
        if request.context:
            raise UnfitError("CLIP sees no demonstrations: it is asked at 0 shots")
        asked = assemble(request, 0, {})
        shown = [s for s in asked if isinstance(s, Image)]
        if not shown:
            raise UnfitError("CLIP compares pictures; the prompt shows none")
        if len(shown) < len(asked) or any(len(c.segments) > 1 for c in act.choices):
            raise UnfitError("CLIP reads no question: it is asked by prompts of pictures alone, such as `clip`")
        seen = F.normalize(self.embed_images(shown).mean(dim=0), dim=0)
        likeness = self._choices(act) @ seen
        logprobs = (self.model.logit_scale.exp().float().cpu() * likeness).log_softmax(dim=0).tolist()
        scores = tuple(ChoiceScore(c.name, p, 1) for c, p in zip(act.choices, logprobs, strict=True))
        return Response(request.id, (StageResult(request.stages[0].name, choices=scores),), pixels=_contents(request))

    def _choices(self, act: Score) -> Tensor:
        """Unit vectors (choices, width): of candidate pictures where choices show some, else of targets."""
        pictures = [[s for s in choice.segments if isinstance(s, Image)] for choice in act.choices]
        if all(pictures):
            return torch.stack([F.normalize(self.embed_images(p).mean(dim=0), dim=0) for p in pictures])
        return torch.stack([self._text(choice.target.strip()) for choice in act.choices])

    @torch.inference_mode()
    def embed_images(self, images: Sequence[Image]) -> Tensor:
        """Unit vectors (images, width), float32, on the CPU. Raises ImageError for one that cannot be read."""
        loaded = [load_image(image) for image in images]
        keys = [content(picture) for picture in loaded]
        pictures = dict(zip(keys, loaded, strict=True))
        new = [key for key in pictures if key not in self._pictures]
        if len(self._pictures) + len(new) > _KEPT:
            self._pictures, new = {}, list(pictures)
        for i in range(0, len(new), BATCH):
            batch = [pictures[key] for key in new[i : i + BATCH]]
            pixels = self.processor(images=batch, return_tensors="pt")["pixel_values"]
            found = self.model.get_image_features(pixel_values=pixels.to(self.model.device, self.model.dtype))
            self._pictures.update(zip(new[i : i + BATCH], _units(found), strict=True))
        return torch.stack([self._pictures[key] for key in keys])

    @torch.inference_mode()
    def _text(self, text: str) -> Tensor:
        if text not in self._texts:
            inputs = self.processor(text=[text], return_tensors="pt", **self._padding())
            limit = getattr(self.model.config.text_config, "max_position_embeddings", None)
            if limit is not None and inputs["input_ids"].shape[1] > limit:
                raise UnfitError(f"the text of a choice is longer than the model's {limit} positions: {text[:60]!r}")
            found = self.model.get_text_features(**{k: v.to(self.model.device) for k, v in inputs.items()})
            self._texts[text] = _units(found)[0]
        return self._texts[text]

    def _padding(self) -> dict[str, Any]:
        """SigLIP was trained on texts padded to its full length, and reads them only so."""
        return {"padding": "max_length"} if self.model.config.model_type.startswith("siglip") else {}


def content(picture: PILImage) -> str:
    """A hash of a picture's pixels."""
    return hashlib.blake2b(f"{picture.size}".encode() + picture.tobytes(), digest_size=16).hexdigest()


def _contents(request: Request) -> str:
    pictures = "".join(content(load_image(image)) for image in images_of(request))
    return hashlib.blake2b(pictures.encode(), digest_size=8).hexdigest()


def _units(found: Any) -> Tensor:
    """Features, or the output that newer releases wrap them in, as unit vectors."""
    features = found if isinstance(found, Tensor) else found.pooler_output
    return F.normalize(features.float().cpu(), dim=-1)
