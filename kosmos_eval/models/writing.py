"""Writing with Hugging Face's `generate`: one batch of equal shapes, stopped where our engine would stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from kosmos_eval.engine.writing import Ending, Finish
from kosmos_eval.models.batching import Inputs
from kosmos_eval.models.dialects import Dialect
from kosmos_eval.request import Generate, Generated


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    dialect: Dialect

    @property
    def eos(self) -> int:
        return self.dialect.eos[0]

    @property
    def ids(self) -> Any:
        return self.dialect.ids

    def decode(self, ids: list[int]) -> str:
        return self.dialect.decode(ids)


class _Ending(Ending):
    """An ending for models that have more than one end-of-sequence token."""

    def __init__(self, act: Generate, dialect: Dialect) -> None:
        super().__init__(act, _Vocabulary(dialect))
        self.ends = set(dialect.eos)
        self._stop_ids |= self.ends

    def reached(self, ids: Sequence[int]) -> Finish | None:
        return "eos" if ids[-1] in self.ends else super().reached(ids)


class _Stops:
    """A stopping criterion of transformers: which rows, of `start` prompt tokens each, have reached their end."""

    def __init__(self, ending: Ending, start: int) -> None:
        self.ending, self.start = ending, start

    def __call__(self, ids: Tensor, scores: Any, **_: Any) -> Tensor:
        ended = [self.ending.reached(row) is not None for row in ids[:, self.start :].tolist()]
        return torch.tensor(ended, device=ids.device)


def settle(model: Any, dialect: Dialect) -> None:
    """Makes `generate` do what it is asked and no more: no sampling or repetition rules from the checkpoint, and each
    beam with its own row's pictures."""
    from transformers import GenerationConfig
    from transformers.generation import GenerationMixin

    for module in model.modules():
        if isinstance(module, GenerationMixin):
            module.generation_config = GenerationConfig(
                eos_token_id=list(dialect.eos), pad_token_id=dialect.pad, decoder_start_token_id=dialect.decoder_start
            )
            if type(module)._expand_inputs_for_generation is GenerationMixin._expand_inputs_for_generation:
                vars(module)["_expand_inputs_for_generation"] = MethodType(_expand, module)


def _expand(
    module: Any, expand_size: int = 1, is_encoder_decoder: bool = False, input_ids: Any = None, **inputs: Any
) -> tuple[Any, dict[str, Any]]:
    """Each row once for each of its beams. Transformers repeats a tensor entry by entry, which gives the pictures of a
    row with several to the wrong beams; here each beam has all pictures of its row, in order."""
    from transformers.generation import GenerationMixin

    others = {k: v for k, v in inputs.items() if not isinstance(v, Tensor)}
    tensors = {k: v for k, v in inputs.items() if isinstance(v, Tensor)}
    rows = len(input_ids)
    general: Any = GenerationMixin._expand_inputs_for_generation
    ids, expanded = general(module, expand_size, is_encoder_decoder, input_ids, **others)
    for key, value in tensors.items():
        each = value.unflatten(0, (rows, -1)) if value.ndim and value.shape[0] != rows else value
        repeated = each.repeat_interleave(expand_size, dim=0)
        expanded[key] = repeated.flatten(0, 1) if each is not value else repeated
    return ids, expanded


def write(network: Any, inputs: Inputs, act: Generate, dialect: Dialect) -> list[Generated]:
    """What each row of a batch writes. inputs: tensors of equal-length rows, unpadded."""
    from transformers.generation import StoppingCriteriaList

    before = inputs["input_ids"]
    if dialect.decoder_start is not None:
        before = before.new_full((len(before), 1), dialect.decoder_start)
    start = before.shape[1]
    ending = _Ending(act, dialect)
    out = network.generate(
        **inputs,
        do_sample=False,
        max_new_tokens=act.max_tokens,
        num_beams=act.beams,
        length_penalty=act.length_penalty,
        no_repeat_ngram_size=act.no_repeat_ngram,
        early_stopping=False,
        stopping_criteria=StoppingCriteriaList([_Stops(ending, start)]),
    )
    if not torch.equal(out[:, :start], before):
        raise RuntimeError(f"{type(network).__name__}.generate does not return the prompt before what it wrote")
    return [_ended(row, ending) for row in out[:, start:].tolist()]


def _ended(ids: list[int], ending: Ending) -> Generated:
    """A row up to its end; what stands behind it is padding."""
    for n in range(1, len(ids) + 1):
        if finish := ending.reached(ids[:n]):
            return ending.generated(ids[:n], finish)
    return ending.generated(ids, None)
