"""How far two lists of answers to the same requests lie apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kosmos_eval.errors import ModelError
from kosmos_eval.models.base import Model
from kosmos_eval.request import ChoiceScore, Request, Response


@dataclass(slots=True)
class Difference:
    """`largest`: of log-probabilities of choices. `flipped` of the `choices` made, `changed` of the `texts` written."""

    largest: float = 0.0
    choices: int = 0
    flipped: int = 0
    texts: int = 0
    changed: int = 0

    def add(self, expected: Response, found: Response) -> None:
        """Takes in one request's answers. What stands behind a changed text was asked otherwise, and is left out."""
        for one, other in zip(expected.stages, found.stages, strict=True):
            if one.generated is not None and other.generated is not None:
                self.texts += 1
                if one.generated.ids != other.generated.ids:
                    self.changed += 1
                    return
            else:
                self._weigh(one.choices, other.choices)

    def _weigh(self, expected: Sequence[ChoiceScore], found: Sequence[ChoiceScore]) -> None:
        self.choices += 1
        self.flipped += _best(expected) != _best(found)
        apart = [abs(a.logprob - b.logprob) for a, b in zip(expected, found, strict=True)]
        # A NaN is no small difference, and `max` would pass over it.
        self.largest = max([self.largest, *(math.inf if math.isnan(x) else x for x in apart)])


def difference(expected: Sequence[Response], found: Sequence[Response]) -> Difference:
    """The differences of answers that stand in one order."""
    total = Difference()
    for one, other in zip(expected, found, strict=True):
        total.add(one, other)
    return total


def answers(model: Model, requests: Sequence[Request]) -> list[Response]:
    """What a model says, in the order of the requests. Raises ModelError for a request that it cannot answer."""
    found = dict(model.run(requests))
    for response in found.values():
        if response.error is not None:
            raise ModelError(f"{model.name}: {response.id}: {response.error}")
    return [found[i] for i in range(len(requests))]


def _best(choices: Sequence[ChoiceScore]) -> int:
    return max(range(len(choices)), key=lambda i: choices[i].logprob)
