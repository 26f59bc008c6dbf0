"""Candidates of a `score` act as one small tree behind their context: they share it, and each other's beginnings.

Only positions whose successor counts or is needed are run: a choice's last token never is, and a choice of one token
costs nothing but a look at the context's logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kosmos_eval.engine.keys import Keys, common
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.prompt import Segment, Text, Tokens
from kosmos_eval.request import Choice


@dataclass(slots=True)
class Branch:
    """One choice: its whole sequence, and where the tokens that count begin."""

    name: str
    keys: Keys
    scored_from: int


@dataclass(slots=True)
class ChoiceTree:
    """Positions behind a trunk. Node 0 is the trunk's last position; node i >= 1 is `keys[i - 1]`.

    `reads` says which log-probabilities make up each choice: (node whose logits are read, token).
    """

    trunk: int
    keys: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    reads: list[list[tuple[int, int]]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def places(self) -> NDArray[np.int64]:
        """Each node's place in its sequence."""
        places = np.empty(len(self.keys) + 1, dtype=np.int64)
        places[0] = self.trunk - 1
        for i, parent in enumerate(self.parents):
            places[i + 1] = places[parent] + 1
        return places[1:]

    def sees(self) -> NDArray[np.bool_]:
        """(nodes, nodes) without node 0: True where a node attends to another: itself and those it descends from."""
        n = len(self.keys)
        mask = np.eye(n, dtype=np.bool_)
        for i, parent in enumerate(self.parents):
            if parent:
                mask[i] |= mask[parent - 1]
        return mask

    def wanted(self) -> list[int]:
        """The nodes whose logits are read, each once."""
        return sorted({node for reads in self.reads for node, _ in reads})


def branches(
    request_id: str, choices: Sequence[Choice], context: Sequence[Segment], keys_of: Callable[[list[Segment]], Keys]
) -> list[Branch]:
    """The choices of a request behind its context. Raises KosmosEvalError for one that adds nothing to score."""
    if not choices:
        raise KosmosEvalError(f"request {request_id!r}: there are no choices to score")
    found = []
    for choice in choices:
        before = [*context, *choice.segments]
        target = Text(choice.target) if choice.target_ids is None else Tokens(choice.target_ids)
        shown, whole = keys_of(before), keys_of([*before, target])
        scored_from = common(shown, whole)
        if scored_from == len(whole):
            raise KosmosEvalError(f"request {request_id!r}: choice {choice.name!r} adds no token")
        found.append(Branch(choice.name, whole, scored_from))
    return found


def lay_out(branches: Sequence[Branch], context: Keys) -> ChoiceTree:
    """The tree of a request's choices. Its trunk is what all share of their `context` before any token counts.

    What a choice appends may be tokenised together with the end of the context: then its keys leave the context's
    before that end. Raises KosmosEvalError where they leave it at once.
    """
    trunk = min(common(context, branches[0].keys), *(b.scored_from for b in branches))
    for b in branches[1:]:
        trunk = min(trunk, common(branches[0].keys, b.keys))
    if not trunk:
        raise KosmosEvalError(f"choice {branches[0].name!r} and the others do not begin with the prompt they follow")
    tree = ChoiceTree(trunk)
    seen: dict[tuple[int, int], int] = {}
    for b in branches:
        node, reads = 0, []
        for place in range(trunk, len(b.keys)):
            key = int(b.keys[place])
            if place >= b.scored_from:
                reads.append((node, key))
            if place == len(b.keys) - 1:
                break  # nothing follows the last token
            if (node, key) not in seen:
                tree.keys.append(key)
                tree.parents.append(node)
                seen[node, key] = len(tree.keys)
            node = seen[node, key]
        tree.reads.append(reads)
        tree.names.append(b.name)
    return tree
