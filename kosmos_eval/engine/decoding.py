"""Writing: rows of a batch go on token by token, greedily or with beams, and leave when they are done.

Positions are explicit for every row (its place in its own sequence), so a row says the same in any company.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kosmos_eval.engine.attention import StepAttention
from kosmos_eval.engine.beam import BeamSearch
from kosmos_eval.engine.cache import SlotCache, TailCache
from kosmos_eval.engine.rows import Row
from kosmos_eval.engine.runner import Runner
from kosmos_eval.engine.writing import Ending, banned
from kosmos_eval.kosmos.tokenizer import KosmosTokenizer
from kosmos_eval.request import Generate, Generated, StageResult

NAN = "the model's logits are not numbers: try another dtype, or see whether the checkpoint is whole"


@dataclass(slots=True)
class Batch:
    """Rows that lie in the slots of one cache, behind one shared path: `rows[i]` has slot `i`.

    While they write, the first `active` ones still do; the cache is read as a view of those.
    """

    rows: list[Row]
    slots: SlotCache
    active: int = 0

    @property
    def writing(self) -> list[Row]:
        return self.rows[: self.active]

    @property
    def shared(self) -> int:
        """Positions of the path that all rows share; their slots hold what follows."""
        return self.rows[0].shared

    def swap(self, a: int, b: int) -> None:
        """Exchanges the places of two rows."""
        self.slots.swap(a, b, max(self.rows[a].cached, self.rows[b].cached) - self.shared)
        self.rows[a], self.rows[b] = self.rows[b], self.rows[a]
        self.rows[a].slot, self.rows[b].slot = a, b

    def bring_forward(self, rows: list[Row]) -> None:
        """Gives these rows the first places, in this order."""
        for place, row in enumerate(rows):
            self.swap(place, row.slot)

    def retire(self, place: int) -> None:
        """The row at `place` is done: it changes places with the last active one."""
        self.active -= 1
        self.swap(place, self.active)

    def own(self) -> list[int]:
        """How many own positions of each active row are cached."""
        return [r.cached - r.shared for r in self.writing]


def _act(row: Row) -> Generate:
    assert isinstance(row.now.act, Generate)
    return row.now.act


def _finish(row: Row, text: Generated, ids: Sequence[int]) -> None:
    """Notes what a row wrote; `ids` with what does not count, since that may be cached, too."""
    row.written = list(ids)
    row.finish_stage(StageResult(row.now.name, text))


def _not_numbers(logits: Tensor) -> list[bool]:
    """Which lines of logits hold a NaN: an overflow, or a broken checkpoint. What follows from them is no answer."""
    return logits.isnan().any(dim=-1).tolist()


def _banned(row: Row, written: list[int] | tuple[int, ...]) -> list[int]:
    n = _act(row).no_repeat_ngram
    return sorted(banned([*row.sequence.ids, *written], n)) if n else []


def write_greedily(
    runner: Runner, batch: Batch, rows: int, logits: Tensor, tokenizer: KosmosTokenizer
) -> list[TailCache]:
    """Greedy decoding of the first `rows` rows. logits: (rows, vocabulary) at each row's last position.

    Returns the caches it made besides: none.
    """
    batch.active = rows
    written: dict[int, list[int]] = {r.index: [] for r in batch.writing}
    endings = {r.index: Ending(_act(r), tokenizer) for r in batch.writing}
    while batch.active:
        for place, row in enumerate(batch.writing):
            if ban := _banned(row, written[row.index]):
                logits[place, ban] = float("-inf")
        tokens, broken = logits.argmax(dim=-1).tolist(), _not_numbers(logits)
        # From the last place down, so that retiring one row does not move another that is still to be looked at.
        for place in range(batch.active - 1, -1, -1):
            row = batch.rows[place]
            ids, ending = written[row.index], endings[row.index]
            if broken[place]:
                row.failure = NAN
                batch.retire(place)
                continue
            ids.append(tokens[place])
            finish = ending.reached(ids)
            if finish or len(ids) >= ending.max_tokens:
                _finish(row, ending.generated(ids, finish), ids)
                batch.retire(place)
        if batch.active:
            logits = _greedy_step(runner, batch, written)
    return []


def _greedy_step(runner: Runner, batch: Batch, written: dict[int, list[int]]) -> Tensor:
    rows = batch.writing
    tokens, own = [written[r.index][-1] for r in rows], batch.own()
    batch.slots.reserve(max(own) + 1)  # lent slots that have to grow are no longer where steps are recorded
    if runner.steps is not None and runner.steps.holds(batch.slots):
        logits = runner.steps.run(runner.path, batch.shared, own, tokens)
        runner.count(len(rows), len(rows))
    else:
        attention = StepAttention.behind(runner.path, batch.shared, batch.slots, own)
        places = np.array([r.cached for r in rows], dtype=np.int64)
        logits = runner.logits(runner.run(tokens, places, attention))
    for r in rows:
        r.cached += 1
    return logits


def write_with_beams(
    runner: Runner, batch: Batch, rows: int, logits: Tensor, tokenizer: KosmosTokenizer
) -> list[TailCache]:
    """Beam search of the first `rows` rows; a row's beams share its slot, only what they wrote is theirs.

    Returns the caches it made besides: the tail.
    """
    device, beams = logits.device, batch.rows[0].beams
    batch.active = rows
    searches = {r.index: BeamSearch(beams, _act(r).length_penalty, Ending(_act(r), tokenizer)) for r in batch.writing}
    steps = max(_act(r).max_tokens for r in batch.writing)
    tail = TailCache(runner.network.config.text, rows, beams, steps, device, runner.network.dtype)
    logits = logits.repeat_interleave(beams, dim=0)
    while batch.active:
        sources: list[list[int]] = []
        broken = [any(_not_numbers(lines)) for lines in logits.unflatten(0, (batch.active, beams))]
        for place, candidates in enumerate(_candidates(batch, searches, logits, beams)):
            continued = [] if broken[place] else searches[batch.rows[place].index].advance(candidates)
            sources.append([place * beams + beam for beam in continued])
        for place in range(batch.active - 1, -1, -1):
            row = batch.rows[place]
            search = searches[row.index]
            if search.over or broken[place]:
                if broken[place]:
                    row.failure = NAN
                else:
                    best = search.best()
                    _finish(row, search.ending.generated(best.ids, best.finish), best.ids)
                sources[place], sources[batch.active - 1] = sources[batch.active - 1], sources[place]
                batch.retire(place)
        if batch.active:
            tail.reorder([s for row_sources in sources[: batch.active] for s in row_sources])
            logits = _beam_step(runner, batch, searches, tail, beams)
    return [tail]


def _candidates(
    batch: Batch, searches: dict[int, BeamSearch], logits: Tensor, beams: int
) -> list[list[tuple[float, int, int]]]:
    """For every active row its best 2 * beams continuations: (summed log-probability, beam, token), best first."""
    logprobs = logits.log_softmax(dim=-1)
    rows = batch.writing
    for place, row in enumerate(rows):
        for beam, ids in enumerate(searches[row.index].open):
            if ban := _banned(row, ids):
                logprobs[place * beams + beam, ban] = float("-inf")
    sums = torch.tensor([searches[r.index].scores for r in rows], device=logits.device)
    vocabulary = logits.shape[-1]
    total = (logprobs.unflatten(0, (len(rows), beams)) + sums[..., None]).flatten(1)
    values, indices = total.topk(2 * beams, dim=1)
    return [
        [(score, i // vocabulary, i % vocabulary) for score, i in zip(v, ix, strict=True)]
        for v, ix in zip(values.tolist(), indices.tolist(), strict=True)
    ]


def _beam_step(
    runner: Runner, batch: Batch, searches: dict[int, BeamSearch], tail: TailCache, beams: int
) -> Tensor:
    rows = batch.writing
    attention = StepAttention.behind(runner.path, batch.shared, batch.slots, batch.own(), beams, tail)
    tokens = [ids[-1] for r in rows for ids in searches[r.index].open]
    places = np.array([r.cached + tail.steps for r in rows for _ in range(beams)], dtype=np.int64)
    hidden = runner.run(tokens, places, attention)
    tail.steps += 1
    return runner.logits(hidden)
