"""Rows: one request at one of its stages, with all that the engine knows about it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kosmos_eval.engine.choices import ChoiceTree
from kosmos_eval.engine.keys import Keys, Sequence
from kosmos_eval.engine.tree import Node
from kosmos_eval.request import Generate, Generated, Request, Response, Stage, StageResult, resumes

_NOTHING = Sequence(np.empty(0, dtype=np.int64), ())


@dataclass(slots=True, eq=False)
class Row:
    """One request on its way through its stages.

    `sequence` is what the stage at hand acts on. `cached` of its positions have keys and values: the first `node.end`
    on the path, the others in `slot`, which begins at position `shared`. `written` holds the ids that the stage before
    put behind the sequence. `failure` says why there will be no answer.
    """

    index: int
    request: Request
    stage: int = 0
    sequence: Sequence = _NOTHING
    choices: ChoiceTree | None = None
    cached: int = 0
    slot: int = -1
    node: Node | None = None
    shared: int = 0
    written: list[int] = field(default_factory=list)
    pixels: str | None = None
    failure: str | None = None
    fits: bool = True
    outputs: dict[str, Generated] = field(default_factory=dict)
    results: list[StageResult] = field(default_factory=list)

    @property
    def now(self) -> Stage:
        """The stage at hand."""
        return self.request.stages[self.stage]

    @property
    def trunk(self) -> int:
        """How many positions every continuation of this row begins with."""
        return self.choices.trunk if self.choices else len(self.sequence)

    @property
    def new(self) -> int:
        """Positions that a pass over it runs: the rest of the trunk, and its choices."""
        return self.trunk - self.cached + (len(self.choices.keys) if self.choices else 0)

    @property
    def beams(self) -> int:
        """Beams to write with; 0 for a row that scores."""
        return self.now.act.beams if isinstance(self.now.act, Generate) else 0

    @property
    def most_in_slot(self) -> int:
        """Tokens that may be written into its slot, by stages that continue the one at hand, too.

        What beams write is kept elsewhere, and comes into the slot only if a stage continues on it.
        """
        most = 0
        following = self.request.stages[self.stage + 1 :]
        for number, stage in enumerate((self.now, *following)):
            continued = number < len(following) and resumes(following[number])
            if isinstance(stage.act, Generate) and (stage.act.beams == 1 or continued):
                most += stage.act.max_tokens
            if not continued:
                break
        return most

    @property
    def done(self) -> bool:
        return self.stage == len(self.request.stages)

    @property
    def goes_on(self) -> bool:
        """Whether the stage at hand continues on the keys and values of the one before."""
        return not self.done and self.failure is None and self.stage > 0 and resumes(self.now)

    def response(self) -> Response:
        """The answer, or why there is none."""
        results = () if self.failure else tuple(self.results)
        return Response(self.request.id, results, self.failure, self.fits, self.pixels)

    def held(self) -> Keys:
        """The keys of the positions that are cached, what was written included."""
        return np.concatenate([self.sequence.keys, np.array(self.written, dtype=np.int64)])[: self.cached]

    def finish_stage(self, result: StageResult) -> None:
        """Notes a stage's outcome and moves to the next one."""
        self.results.append(result)
        if result.generated is not None:
            self.outputs[result.name] = result.generated
        self.stage += 1
