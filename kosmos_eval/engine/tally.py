"""How many positions requests take, counted without a network: each alone, and sharing what the engine would share.

Follows the engine's own steps (windows, rounds, prefix trees, trees of choices). What a model will write is not known
before: its tokens count nowhere, and `written` says how many they may be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kosmos_eval.engine.batching import by_beams
from kosmos_eval.engine.choices import branches, lay_out
from kosmos_eval.engine.keys import Keys, sequence
from kosmos_eval.engine.limits import Limits, positions_needed, windows
from kosmos_eval.engine.tree import Node, build
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.kosmos.processor import Processor
from kosmos_eval.prompt import Image, Segment
from kosmos_eval.request import Generate, Generated, Request, Stage, assemble, resumes


@dataclass(slots=True)
class Tally:
    """Positions of one request. `shared` is its part of what is computed: what rows share is split evenly among them.

    `written` is the most that its texts may take; `fits` is whether the model has room for it.
    """

    alone: int = 0
    shared: float = 0
    written: int = 0
    fits: bool = True


@dataclass(slots=True)
class _Row:
    """A stage that begins on a sequence of its own: its `keys` up to the answer, and what is computed behind them."""

    tally: Tally
    keys: Keys
    beams: int
    behind: int


class _Names:
    """Numbers pictures by their names: nothing is decoded."""

    def __init__(self) -> None:
        self._numbers: dict[Image, int] = {}

    def number(self, image: Image) -> int:
        return self._numbers.setdefault(image, len(self._numbers))


def tally(requests: Sequence[Request], processor: Processor, limits: Limits | None = None) -> list[Tally]:
    """What each of the requests of one work unit takes; one that does not fit the model, or is at fault, takes none."""
    found = [Tally() for _ in requests]
    for window in windows(requests, limits or Limits()):
        names = _Names()
        rounds: defaultdict[int, list[_Row]] = defaultdict(list)
        for index, request in window:
            try:
                if positions_needed(request, processor) > processor.positions:
                    found[index].fits = False
                    continue
                rows = list(_rows(request, processor, names, found[index]))
            except KosmosEvalError:
                continue  # the run will say what is wrong with it
            for number, row in enumerate(rows):
                rounds[number].append(row)
        for rows in rounds.values():
            for kind in by_beams(rows):
                _share(kind)
    return found


def _rows(request: Request, processor: Processor, names: _Names, tally: Tally) -> Iterator[_Row]:
    """The rows of a request, each with the stages that continue in its place."""
    nothing = {stage.name: Generated("", (), "length") for stage in request.stages}
    row: _Row | None = None
    for k, stage in enumerate(request.stages):
        if isinstance(stage.act, Generate):
            tally.written += stage.act.max_tokens
        segments = assemble(request, k, nothing)
        trunk, choices = _weighed(request, stage, segments, processor, names)
        if row is not None and resumes(stage):
            # The end of the sequence before, which its choices or its text followed, is in place already.
            before = assemble(request, k - 1, nothing)
            row.behind += max(0, len(trunk) - processor.length(before)) + choices
            continue
        if row is not None:
            yield _counted(row)
        beams = stage.act.beams if isinstance(stage.act, Generate) else 0
        row = _Row(tally, trunk, beams, choices)
    if row is not None:
        yield _counted(row)


def _counted(row: _Row) -> _Row:
    row.tally.alone += len(row.keys) + row.behind
    return row


def _weighed(
    request: Request, stage: Stage, segments: list[Segment], processor: Processor, names: _Names
) -> tuple[Keys, int]:
    """What a stage's continuations have in common, and the positions of their own that are computed."""

    def keys_of(segments: list[Segment]) -> Keys:
        return sequence(processor.encode(segments), names).keys

    keys = keys_of(segments)
    if isinstance(stage.act, Generate):
        return keys, 0
    tree = lay_out(branches(request.id, stage.act.choices, segments, keys_of), keys)
    return keys[: tree.trunk], len(tree.keys)


def _share(rows: list[_Row]) -> None:
    """Splits each node of the rows' prefix tree among those that hang below it."""
    root = build([row.keys for row in rows])
    _split(root, rows, 0)


def _split(node: Node, rows: list[_Row], above: float) -> None:
    """`above` is the part of one row in what lies above the node."""
    below = sum(1 for _ in node.walk())
    part = above + (node.end - node.start) / below
    for leaf in node.leaves:
        row = rows[leaf]
        row.tally.shared += part + len(row.keys) - node.end + row.behind
    for child in node.children:
        _split(child, rows, part)
