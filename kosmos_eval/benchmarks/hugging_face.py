"""The denominators: the same requests answered by Hugging Face's Kosmos-2 (transformers), in the ways people use it.

Each function answers requests from the first to the last, starting with nothing but the weights. Hugging Face's batches
are of prompts of equal length, and its beams get their image tokens flattened: with padding, or without that, its
answers are wrong for this model (see docs/engine.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kosmos_eval.data.images import load
from kosmos_eval.kosmos.processor import Encoded, Processor
from kosmos_eval.prompt import Image, Segment, Tokens
from kosmos_eval.request import Generate, Request, Score, assemble

BATCH = 8
_PAD, _EOS = 1, 2


@dataclass(frozen=True, slots=True)
class Answer:
    """What is compared: log-probabilities of choices, or the tokens of every text."""

    logprobs: tuple[float, ...] = ()
    ids: tuple[tuple[int, ...], ...] = ()


@dataclass(slots=True)
class HuggingFace:
    """Hugging Face's model and what feeds it. `memory` keeps image tokens, for those who keep them."""

    model: Any
    processor: Processor
    memory: dict[Image, Tensor] = field(default_factory=dict)

    def pixels(self, images: Sequence[Image]) -> Tensor:
        """(images, 3, edge, edge)."""
        found = torch.stack([self.processor.preprocessing(load(image)) for image in images])
        return found.to(self.model.device, self.model.dtype)

    def encode(self, segments: Sequence[Segment]) -> tuple[Encoded, Tensor, Tensor]:
        """A sequence, its ids (1, tokens) and its mask of image slots (1, tokens)."""
        encoded = self.processor.encode(segments)
        return encoded, encoded.input_ids[None].to(self.model.device), encoded.image_mask[None].to(self.model.device)

    def image_tokens(self, pixels: Tensor) -> Tensor:
        """(images, image tokens, width)."""
        vision = self.model.vision_model
        seen = vision.model.post_layernorm(vision(pixels)[0])
        return self.model.image_to_text_projection(torch.nn.functional.normalize(seen, dim=-1))[0]

    def remembered(self, images: Sequence[Image]) -> Tensor:
        """Image tokens (images, image tokens, width), each picture's computed once."""
        new = [image for image in dict.fromkeys(images) if image not in self.memory]
        if new:
            self.memory.update(zip(new, self.image_tokens(self.pixels(new)), strict=True))
        return torch.stack([self.memory[image] for image in images])


Arm = Callable[[HuggingFace, Sequence[Request]], list[Answer]]


def _choices(request: Request) -> tuple[list[Segment], list[tuple[list[Segment], tuple[int, ...]]]]:
    """A scoring request's sequence, and each choice's sequence before its target's ids."""
    before = assemble(request, 0, {})
    act = request.stages[0].act
    assert isinstance(act, Score)
    return before, [([*before, *c.segments], tuple(c.target_ids or ())) for c in act.choices]


def _sum(logits: Tensor, ids: Tensor) -> float:
    """Log-probability of ids (n,) by the logits (n, vocabulary) before each."""
    return float(logits.float().log_softmax(-1).gather(1, ids[:, None]).cpu().double().sum())


def s0(hf: HuggingFace, requests: Sequence[Request]) -> list[Answer]:
    """As documented: for each candidate one forward pass over the whole prompt, pictures and all logits included."""
    answers = []
    for request in requests:
        logprobs = []
        _, choices = _choices(request)
        for before, target in choices:
            encoded, ids, mask = hf.encode([*before, Tokens(target)])
            out = hf.model(
                pixel_values=hf.pixels(encoded.images), input_ids=ids, image_embeds_position_mask=mask.long(),
                use_cache=False,
            )  # fmt: skip
            n = len(target)
            logprobs.append(_sum(out.logits[0, -n - 1 : -1], ids[0, -n:]))
        answers.append(Answer(tuple(logprobs)))
    return answers


def s2(hf: HuggingFace, requests: Sequence[Request]) -> list[Answer]:
    """Careful: image tokens remembered, candidates of a query in one batch, logits of their last positions only."""
    answers = []
    for request in requests:
        _, choices = _choices(request)
        rows = [(hf.encode([*before, Tokens(target)])[0], len(target)) for before, target in choices]
        longest, most = max(len(e) for e, _ in rows), max(n for _, n in rows)
        ids = torch.full((len(rows), longest), _PAD)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        seen = torch.zeros_like(mask)
        for i, (encoded, _) in enumerate(rows):
            ids[i, : len(encoded)], mask[i, : len(encoded)] = encoded.input_ids, encoded.image_mask.long()
            seen[i, : len(encoded)] = 1
        device = hf.model.device
        # A row begins to count before its target's first token; the padding behind it is at most `most - 1` long.
        kept = 2 * most
        logits = hf.model(
            image_embeds=torch.cat([hf.remembered(e.images) for e, _ in rows]), input_ids=ids.to(device),
            image_embeds_position_mask=mask.to(device), attention_mask=seen.to(device), logits_to_keep=kept,
            use_cache=False,
        ).logits  # fmt: skip
        logprobs = []
        for i, (encoded, n) in enumerate(rows):
            start = len(encoded) - n - 1 - (longest - kept)
            logprobs.append(_sum(logits[i, start : start + n], encoded.input_ids[-n:].to(device)))
        answers.append(Answer(tuple(logprobs)))
    return answers


def s3(hf: HuggingFace, requests: Sequence[Request]) -> list[Answer]:
    """Expert: keys and values of the demonstrations computed once, queries and candidates appended and cut off again.

    The images must go in as embeddings (`inputs_embeds`): given ids and a cache, Hugging Face drops them.
    """
    from transformers import DynamicCache

    text = hf.model.text_model
    cache = DynamicCache(config=hf.model.config.text_config)

    def extend(encoded: Encoded, start: int) -> Tensor:
        """Runs what is new; the logits of its last position."""
        ids, mask = encoded.input_ids.to(text.device), encoded.image_mask.to(text.device)
        embeds = text.model.embed_tokens(ids)
        if encoded.images:
            embeds[mask] = hf.remembered(encoded.images).flatten(0, 1)
        new = embeds[None, start:]
        return text(inputs_embeds=new, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0]

    prefix = hf.encode(requests[0].context)[0]
    extend(prefix, 0)
    answers = []
    for request in requests:
        before, choices = _choices(request)
        query = hf.encode(before)[0]
        first = extend(query, len(prefix))
        logprobs = []
        for segments, target in choices:
            parts = [hf.encode([*segments, Tokens(target[:n])])[0] for n in range(1, len(target))]
            logits = [first, *(extend(part, len(part) - 1) for part in parts)]
            logprobs.append(_sum(torch.cat(logits), torch.tensor(target, device=text.device)))
            if len(target) > 1:
                cache.crop(-(len(target) - 1))
        cache.crop(-(len(query) - len(prefix)))
        answers.append(Answer(tuple(logprobs)))
    return answers


def _generate(hf: HuggingFace, ids: Tensor, mask: Tensor, act: Generate, **images: Tensor) -> list[tuple[int, ...]]:
    out = hf.model.generate(
        **images, input_ids=ids, image_embeds_position_mask=mask.long(), attention_mask=torch.ones_like(ids),
        max_new_tokens=act.max_tokens, num_beams=act.beams, length_penalty=act.length_penalty, do_sample=False,
        eos_token_id=_EOS, pad_token_id=_PAD,
    )  # fmt: skip
    return [tuple(i for i in row if i not in (_PAD, _EOS)) for row in out[:, ids.shape[1] :].tolist()]


def _act(request: Request, stage: int) -> Generate:
    act = request.stages[stage].act
    assert isinstance(act, Generate)
    return act


def greedy(hf: HuggingFace, requests: Sequence[Request]) -> list[Answer]:
    """`generate` on batches of equally long prompts."""
    answers = []
    for start in range(0, len(requests), BATCH):
        batch = requests[start : start + BATCH]
        encoded = [hf.encode(assemble(request, 0, {})) for request in batch]
        pixels = hf.pixels([image for e, _, _ in encoded for image in e.images])
        ids, mask = (torch.cat(tensors) for tensors in ([e[1] for e in encoded], [e[2] for e in encoded]))
        written = _generate(hf, ids, mask, _act(batch[0], 0), pixel_values=pixels)
        answers += [Answer(ids=(w,)) for w in written]
    return answers


def beam(hf: HuggingFace, requests: Sequence[Request]) -> list[Answer]:
    """`generate` with beams, one query at a time, image tokens flattened so that each beam sees its own."""
    answers = []
    for request in requests:
        encoded, ids, mask = hf.encode(assemble(request, 0, {}))
        embeds = hf.image_tokens(hf.pixels(encoded.images))
        written = _generate(hf, ids, mask, _act(request, 0), image_embeds=embeds.reshape(1, -1, embeds.shape[-1]))
        answers.append(Answer(ids=(written[0],)))
    return answers


def mcot(hf: HuggingFace, requests: Sequence[Request]) -> list[Answer]:
    """Two calls of `generate`; the second reads the prompt, the rationale and the question from the beginning."""
    answers = []
    for request in requests:
        segments = assemble(request, 0, {})
        texts: list[tuple[int, ...]] = []
        for stage in range(len(request.stages)):
            if stage:
                segments = [*segments, Tokens(texts[-1]), *request.stages[stage].segments]
            encoded, ids, mask = hf.encode(segments)
            texts += _generate(hf, ids, mask, _act(request, stage), pixel_values=hf.pixels(encoded.images))
        answers.append(Answer(ids=tuple(texts)))
    return answers


ARMS: dict[str, Arm] = {"s0": s0, "s2": s2, "s3": s3, "greedy": greedy, "beam": beam, "mcot": mcot}
