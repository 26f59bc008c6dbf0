"""Ten annotators: most see what is there, some slip, as in the official answer lists."""

from __future__ import annotations

import random
from collections.abc import Sequence

ANNOTATORS = 10


_SLIPS = (0, 0, 0, 1, 2, 3)


def ten_answers(rng: random.Random, answer: str, mistakes: Sequence[str]) -> list[tuple[str, str]]:
    """Ten (answer, confidence) pairs; the right answer keeps a clear majority, and half the lists are unanimous."""
    slips = rng.choice(_SLIPS)
    answers = [(answer, "yes" if rng.random() < 0.9 else "maybe") for _ in range(ANNOTATORS - slips)]
    answers += [(rng.choice(mistakes), rng.choice(("maybe", "no", "yes"))) for _ in range(slips)]
    rng.shuffle(answers)
    return answers
