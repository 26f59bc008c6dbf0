"""The engine: a stream of requests to a stream of responses.

A window of requests is worked on in rounds. A round takes every row whose stage starts on a sequence of its own, finds
what these share (`tree`), and walks it depth first. Scoring rows are run packed behind the path they share. Writing
rows are prefilled into slots and written together; where their next stage continues, it continues in the slot. Rows
whose next stage starts afresh wait for the next round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch

from kosmos_eval.engine.attention import Piece
from kosmos_eval.engine.batching import by_beams, depth_first, groups, shared_node
from kosmos_eval.engine.cache import SlotCache
from kosmos_eval.engine.choices import branches, lay_out
from kosmos_eval.engine.decoding import Batch, write_greedily, write_with_beams
from kosmos_eval.engine.images import ImageStore, ImageTable
from kosmos_eval.engine.keys import common, sequence
from kosmos_eval.engine.limits import Limits, check_length, too_long, windows
from kosmos_eval.engine.memory import out_of_memory
from kosmos_eval.engine.rows import Row
from kosmos_eval.engine.runner import Runner
from kosmos_eval.errors import KosmosEvalError, RequestTooLongError
from kosmos_eval.kosmos.model import Kosmos
from kosmos_eval.kosmos.processor import Processor
from kosmos_eval.prompt import Image
from kosmos_eval.request import ChoiceScore, Generate, Request, Response, Score, StageResult, assemble, images_of

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    from kosmos_eval.engine.image_files import ImageFiles


_PADDED = 4
"""So many times its budget of positions may a pass take when its rows are padded."""


class Engine:
    """Runs requests on a Kosmos network. `limits` say how much is done at once; they do not change what is said."""

    def __init__(
        self, network: Kosmos, processor: Processor, load: Callable[[Image], PILImage], limits: Limits | None = None,
        files: ImageFiles | None = None,
    ) -> None:  # fmt: skip
        self.processor = processor
        self.limits = limits or Limits.on(network.device)
        self.kv_bytes, self.pass_tokens = self.limits.kv_bytes, self.limits.pass_tokens
        """What batches and passes may take now: less than `limits` say once memory was short."""
        self.runner = Runner(network)
        self.images = ImageStore(network, load, processor.preprocessing, self.limits.image_bytes, files)

    @torch.inference_mode()
    def run(self, requests: Iterable[Request]) -> Iterator[tuple[int, Response]]:
        """Answers come as they are ready, each with its request's place in the stream. A bad request is answered by an
        error and stops no other."""
        for window in windows(requests, self.limits):
            table = ImageTable(self.images)
            self.runner.begin(table)
            for answer in self._window([Row(i, request) for i, request in window], table):
                yield answer
                self.runner.go_on_with(table)  # whoever took it may have begun another run

    def _window(self, rows: list[Row], table: ImageTable) -> Iterator[tuple[int, Response]]:
        while rows:
            ready = [row for row in rows if self._prepare(row, table)]
            yield from ((row.index, row.response()) for row in rows if row.failure)
            rows = []
            for row in self._round(ready, table):
                if row.done or row.failure:
                    yield row.index, row.response()
                else:
                    rows.append(row)

    def _prepare(self, row: Row, table: ImageTable) -> bool:
        """Encodes the stage at hand; False, with the failure noted, if the request cannot be run."""
        held = row.held()
        try:
            if row.stage == 0:
                check_length(row.request, self.processor)
                # A picture that cannot be read is known before anything is computed.
                row.pixels = table.contents(images_of(row.request))
            self._encode(row, table)
        except KosmosEvalError as error:
            row.failure, row.fits = str(error), not isinstance(error, RequestTooLongError)
            return False
        # What a stop string cut off the text has keys and values, but is no part of the sequence any more.
        row.cached, row.written = min(common(held, row.sequence.keys), row.trunk - 1), []
        return True

    def _encode(self, row: Row, table: ImageTable) -> None:
        """Gives the row the sequence of its stage, and the tree of its choices."""
        segments = assemble(row.request, row.stage, row.outputs)
        encode = self.processor.encode
        row.sequence = sequence(encode(segments), table)
        row.choices = None
        act = row.now.act
        if not len(row.sequence):
            raise KosmosEvalError(f"request {row.request.id!r}: the prompt has no tokens")
        longest = len(row.sequence) + (act.max_tokens if isinstance(act, Generate) else 0)
        if isinstance(act, Score):
            weighed = branches(row.request.id, act.choices, segments, lambda s: sequence(encode(s), table).keys)
            longest = max(longest, *(len(branch.keys) for branch in weighed))
            row.choices = lay_out(weighed, row.sequence.keys)
        if longest > self.processor.positions:
            # Only texts that are tokenised again can come here: their tokens were more than was allowed for.
            raise too_long(row.request, longest, self.processor.positions)

    # One round: rows whose stage starts on a sequence of its own.

    def _round(self, rows: list[Row], table: ImageTable) -> Iterator[Row]:
        """Rows come back with one stage done, or more where stages continue in their slots."""
        for members in by_beams(rows):
            for group in groups(depth_first(members), self.runner.weights_in_positions):
                yield from self._write_all(group, table)

    def _packs(self, rows: list[Row]) -> Iterator[list[Row]]:
        """Rows on one node, all scoring or all writing, up to the token budget of a pass."""
        pack: list[Row] = []
        size, longest = 0, 0
        for row in rows:
            new = row.new
            longest = max(longest, new)
            padded = (len(pack) + 1) * longest  # what the own parts of rows take where they are attended as one batch
            if pack and (row.node is not pack[0].node or bool(row.beams) != bool(pack[0].beams)
                         or size + new > self.pass_tokens or padded > _PADDED * self.pass_tokens):  # fmt: skip
                yield pack
                pack, size, longest = [], 0, new
            pack.append(row)
            size += new
        if pack:
            yield pack

    def _batch(self, rows: list[Row]) -> list[Row]:
        """The first rows up to the number, and the memory, of those that write together."""
        writing: list[Row] = []
        for place, row in enumerate(rows):
            if not row.beams:
                continue
            writing.append(row)
            full = len(writing) > self.limits.rows or self._own_bytes(writing) > self.kv_bytes
            if full and len(writing) > 1:
                return rows[:place]
        return rows

    def _own_bytes(self, rows: list[Row]) -> int:
        """The most that keys and values behind the path of rows can take: slots are as long as the longest needs."""
        acts = [row.now.act for row in rows]
        behind = max(row.trunk for row in rows) - shared_node(rows).end
        written = max(act.beams * act.max_tokens for act in acts if isinstance(act, Generate))
        return len(rows) * (behind + written) * self.runner.position_bytes

    # Passes over several rows.

    def _pass(self, rows: list[Row], slots: SlotCache | None) -> torch.Tensor:
        """Runs what is new of rows (the rest of their trunks, their choices) behind the path and their own past.

        Returns the hidden states of the positions whose logits are read, row by row.
        """
        assert rows[0].node is not None
        self.runner.go_to(rows[0].node)
        pieces, keys, places, wanted, start = [], [], [], [], 0
        for row in rows:
            assert row.node is not None
            path, chain, tree = row.node.end, row.trunk - row.cached, row.choices
            piece = Piece(path, row.cached - path, chain, chain + (len(tree.keys) if tree else 0))
            if tree and tree.keys:
                piece.sees = torch.from_numpy(tree.sees())
            if slots is not None:
                piece.slot, piece.keep_at = row.slot, row.cached - row.shared
            pieces.append(piece)
            keys.append(row.sequence.keys[row.cached : row.trunk])
            places.append(np.arange(row.cached, row.trunk))
            if tree:
                keys.append(np.array(tree.keys, dtype=np.int64))
                places.append(tree.places())
            wanted += [start + chain - 1 + node for node in (tree.wanted() if tree else [0])]
            start += piece.new
        hidden = self.runner.packed(pieces, np.concatenate(keys), np.concatenate(places), slots)
        return hidden[torch.tensor(wanted, device=hidden.device)]

    def _score_all(self, rows: list[Row]) -> Iterator[Row]:
        """Scores rows pack by pack. Where memory is short, `pass_tokens` is halved until a pack fits."""
        while rows:
            pack = next(self._packs(rows))
            try:
                self._score(pack, None)
            except RuntimeError as error:
                if not out_of_memory(error) or len(pack) == 1:
                    raise
                self.pass_tokens = min(self.pass_tokens, sum(row.new for row in pack)) // 2
                self.runner.forget()
                continue
            yield from pack
            rows = rows[len(pack) :]

    def _score(self, rows: list[Row], slots: SlotCache | None, beside: Batch | None = None) -> None:
        """Scores the choices of rows in one pass, of rows in `slots` or `beside` a batch that lies in its own."""
        logprobs = self.runner.logits(self._pass(rows, slots)).log_softmax(dim=-1)
        likeliest = logprobs.argmax(dim=-1)
        if slots is None:
            lying = beside.rows if beside else []
            positions = sum(r.trunk + len(r.choices.keys) for r in rows if r.choices) + sum(r.cached for r in lying)
            self.runner.note_memory([beside.slots] if beside else [], positions)
        start = 0
        for row in rows:
            assert row.choices is not None
            line = {node: start + i for i, node in enumerate(row.choices.wanted())}
            start += len(line)
            scores = []
            for name, reads in zip(row.choices.names, row.choices.reads, strict=True):
                at = torch.tensor([[line[node], token] for node, token in reads], device=logprobs.device)
                logprob = float(logprobs[at[:, 0], at[:, 1]].cpu().double().sum())
                greedy = bool((likeliest[at[:, 0]] == at[:, 1]).all())
                scores.append(ChoiceScore(name, logprob, len(reads), greedy))
            row.finish_stage(StageResult(row.now.name, choices=tuple(scores)))

    # Batches that write.

    def _write_all(self, rows: list[Row], table: ImageTable) -> Iterator[Row]:
        """Writes rows batch by batch, and scores those among them that score, where the path is the same.

        Where memory is short, `kv_bytes` is halved until a batch fits, and what is to be scored is scored apart. Rows
        that finished a stage before memory ran out keep it; their next one waits for the next round.
        """
        while any(row.beams for row in rows):
            batch = self._batch(rows)
            needed = self._own_bytes([row for row in batch if row.beams])
            before = [(row.stage, row.node, row.cached) for row in batch]
            short = False
            try:
                self._write(batch, table)
            except RuntimeError as error:
                if not out_of_memory(error) or len(batch) == 1:
                    raise
                self.kv_bytes, short = min(self.kv_bytes, needed) // 2, True
                self.pass_tokens //= 2
                self.runner.forget()
            again = []
            for row, (stage, node, cached) in zip(batch, before, strict=True):
                if row.stage > stage or row.failure:
                    yield row
                else:
                    row.node, row.cached = node, cached
                    again.append(row)
            rows = again + rows[len(batch) :]
            if short:
                scoring, rows = [row for row in rows if not row.beams], [row for row in rows if row.beams]
                yield from self._score_all(scoring)
        yield from self._score_all(rows)

    def _write(self, rows: list[Row], table: ImageTable) -> None:
        """Prefills rows into slots (and scores what is scored), writes, goes on with the stages that continue there."""
        writing = [row for row in rows if row.beams]
        node = shared_node(writing)
        longest = max(r.trunk for r in writing) - node.end
        room = longest + max(r.most_in_slot for r in writing) + self.limits.slack
        batch = Batch(list(writing), self.runner.slots(len(writing), room))
        batch.slots.reserve(longest)
        for place, row in enumerate(writing):
            row.slot, row.shared = place, node.end
        logits = []
        for pack in self._packs(rows):
            if pack[0].beams:
                logits.append(self._prefill(pack, batch.slots))
            else:
                self._score(pack, None, batch)
        for row in writing:
            row.node = node
        self.runner.go_back_to(node)  # what was scored last may lie on another branch
        self._decode(batch, len(writing), torch.cat(logits))
        while going := [r for r in writing if r.goes_on and self._prepare(r, table)]:
            self._continue(going, batch)

    def _prefill(self, rows: list[Row], slots: SlotCache) -> torch.Tensor:
        """Computes rows behind their node; all that lies beyond their batch's shared path is kept in their slots."""
        node = rows[0].node
        assert node is not None
        self.runner.go_to(node)
        for row in rows:
            self.runner.copy_path(row.shared, node.end, slots, row.slot)
        logits = self.runner.logits(self._pass(rows, slots))
        for row in rows:
            row.cached = row.trunk
        return logits

    def _decode(self, batch: Batch, active: int, logits: torch.Tensor) -> None:
        beams = batch.rows[0].beams
        write = write_with_beams if beams > 1 else write_greedily
        tail = write(self.runner, batch, active, logits, self.processor.tokenizer)
        written = sum(len(r.sequence) + len(r.written) for r in batch.rows[:active])
        self.runner.note_memory([batch.slots, *tail], written * beams)

    def _continue(self, rows: list[Row], batch: Batch) -> None:
        """One more stage of rows that lie in slots."""
        batch.slots.reserve(max(r.trunk - r.shared for r in rows))
        for beams, group in groupby(sorted(rows, key=lambda r: (r.beams, r.index)), key=lambda r: r.beams):
            members = list(group)
            if beams:
                batch.bring_forward(members)
            outcomes = []
            for pack in self._packs(members):
                if beams:
                    outcomes.append(self.runner.logits(self._pass(pack, batch.slots)))
                else:
                    self._score(pack, batch.slots)
            if beams:
                for row in members:
                    row.cached = row.trunk
                self._decode(batch, len(members), torch.cat(outcomes))
