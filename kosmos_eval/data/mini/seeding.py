"""How the mini suite draws an item: from its own seed alone, and for ever on one side of the train/eval wall."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from kosmos_eval.errors import DataError

MINI_VERSION = "1"
TRAIN, EVAL = "train", "eval"
TRAIN_COUNT, EVAL_COUNT = 1000, 500
COUNTS = {TRAIN: TRAIN_COUNT, EVAL: EVAL_COUNT}
_EVAL_SHARE = 8
_MAX_ATTEMPTS = 1000

T = TypeVar("T")


def item_rng(task: str, split: str, index: int, purpose: str = "item") -> random.Random:
    """The random stream of one item. It depends on no other item, so any item can be made alone, in any order."""
    if split not in (TRAIN, EVAL):
        raise DataError(f"mini suite: unknown split {split!r} (known: {TRAIN}, {EVAL})")
    return random.Random(f"mini:{MINI_VERSION}:{task}:{split}:{index}:{purpose}")


def belongs_to_eval(content: str) -> bool:
    """One content in eight is kept for evaluation, whoever draws it: an unbounded train split can never meet it."""
    return hashlib.blake2b(content.encode(), digest_size=8).digest()[0] % _EVAL_SHARE == 0


def draw(task: str, split: str, index: int, make: Callable[[random.Random], T], content: Callable[[T], str]) -> T:
    """Draw with the item's own stream until the content lies on the split's side of the wall."""
    rng = item_rng(task, split, index)
    for _ in range(_MAX_ATTEMPTS):
        made = make(rng)
        if belongs_to_eval(content(made)) == (split == EVAL):
            return made
    raise DataError(f"mini suite: {task}/{split} item {index}: no fitting content in {_MAX_ATTEMPTS} draws")


def balanced(task: str, split: str, index: int, classes: Sequence[T]) -> T:
    """The item's class, such that each block of len(classes) neighbours holds each class once, in a random order."""
    block, place = divmod(index, len(classes))
    order = list(range(len(classes)))
    item_rng(task, split, block, "balance").shuffle(order)
    return classes[order[place]]
