"""Throw-away heads that read labels off patches and image tokens, and the loss they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kosmos_eval.mini.dense_labels import ATTRIBUTES
from kosmos_eval.mini.tokenizer import ALPHABET

_CODE = 32
_ATTRIBUTE_WEIGHT, _NONE_WEIGHT, _FILLED_WEIGHT = 0.5, 0.1, 4.0


@dataclass(frozen=True, slots=True)
class DenseLoss:
    """The loss, and shares of right labels: of each reader's characters, and of each attribute where there is one."""

    loss: Tensor
    characters: list[float]
    attributes: dict[str, float]


class SlotReader(nn.Module):
    """Reads characters linearly: a code for each slot, one alphabet for all slots, and whether a slot is filled."""

    def __init__(self, width: int, slots: int) -> None:
        super().__init__()
        self.codes = nn.Linear(width, slots * _CODE)
        self.alphabet = nn.Linear(_CODE, len(ALPHABET))
        self.filled = nn.Linear(width, slots)
        nn.init.normal_(self.codes.weight, std=1.0 / width**0.5)
        nn.init.normal_(self.alphabet.weight, std=1.0 / _CODE**0.5)

    def forward(self, features: Tensor, chars: Tensor) -> tuple[Tensor, float]:
        """The loss over filled slots (and which are), and the share of characters that are right."""
        present = chars >= 0
        if not bool(present.any()):
            return features.sum() * 0.0, float("nan")
        filled = F.binary_cross_entropy_with_logits(self.filled(features).float(), present.float())
        codes = self.codes(features).unflatten(-1, (-1, _CODE))[present]
        logits, wanted = self.alphabet(codes).float(), chars[present].long()
        right = (logits.argmax(-1) == wanted).float().mean().item()
        return F.cross_entropy(logits, wanted) + _FILLED_WEIGHT * filled, right


class DenseHeads(nn.Module):
    """A reader for each way characters are filed (`slots`: how many each has), and one for each attribute."""

    def __init__(self, width: int, slots: Sequence[int]) -> None:
        super().__init__()
        self.readers = nn.ModuleList(SlotReader(width, count) for count in slots)
        self.attributes = nn.ModuleList(nn.Linear(width, len(values)) for values in ATTRIBUTES.values())

    def forward(self, features: Tensor, chars: Sequence[Tensor], attributes: Tensor) -> DenseLoss:
        """features (images, places, width); chars, for each reader, (images, places, its slots), -1 where none.

        Only pictures with text count for characters.
        """
        with_text = (chars[0] >= 0).flatten(1).any(1)
        loss, shares = self._attributes(features, attributes)
        right: list[float] = []
        for reader, wanted in zip(self.readers, chars, strict=True):
            extra, share = reader(features[with_text], wanted[with_text])
            loss = loss + extra
            right.append(share)
        return DenseLoss(loss, right, shares)

    def _attributes(self, features: Tensor, attributes: Tensor) -> tuple[Tensor, dict[str, float]]:
        total = features.new_zeros(())
        shares: dict[str, float] = {}
        for column, (name, values) in enumerate(ATTRIBUTES.items()):
            head, wanted = self.attributes[column], attributes[..., column].long()
            weight = torch.ones(len(values), device=features.device)
            weight[0] = _NONE_WEIGHT
            logits = head(features).float()
            total = total + F.cross_entropy(logits.flatten(0, -2), wanted.flatten(), weight)
            there = wanted > 0
            if bool(there.any()):
                shares[name] = (logits.argmax(-1) == wanted)[there].float().mean().item()
        return _ATTRIBUTE_WEIGHT * total, shares
