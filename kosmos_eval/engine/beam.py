"""Beam search with the semantics of Hugging Face's `GenerationMixin._beam_search` (early_stopping=False), for one row.

Every step looks at the best `2 * beams` continuations: enough to go on with `beams` of them even if the others end.
A finished text is ranked by its log-probability over length ** length_penalty. The search is over when no open beam, at
its present length, could beat the worst finished one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kosmos_eval.engine.writing import Ending, Finish

_NEVER = -1.0e9


@dataclass(slots=True)
class Hypothesis:
    """A finished text and its length-penalised score; `finish` is None if it was cut off."""

    score: float
    ids: tuple[int, ...]
    finish: Finish | None


@dataclass(slots=True)
class BeamSearch:
    """The open and finished beams of one row. `scores` are summed log-probabilities of the open ones, best first."""

    beams: int
    length_penalty: float
    ending: Ending
    open: list[tuple[int, ...]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    finished: list[Hypothesis] = field(default_factory=list)
    over: bool = False

    def __post_init__(self) -> None:
        # All beams start equal; only the first may be continued, or they would all say the same.
        self.open = [()] * self.beams
        self.scores = [0.0] + [_NEVER] * (self.beams - 1)

    def advance(self, candidates: Sequence[tuple[float, int, int]]) -> list[int]:
        """Takes the best (score, beam, token), best first; returns the beam that each new open beam continues."""
        length = len(self.open[0]) + 1
        at_limit = length >= self.ending.max_tokens
        extended = [(score, beam, (*self.open[beam], token)) for score, beam, token in candidates]
        endings = [self.ending.reached(ids) if score > _NEVER / 2 else None for score, _, ids in extended]
        ended = [at_limit or finish is not None for finish in endings]
        for (score, _, ids), finish, end in list(zip(extended, endings, ended, strict=True))[: self.beams]:
            if end:
                self.finished.append(Hypothesis(score / length**self.length_penalty, ids, finish))
        self.finished = sorted(self.finished, key=lambda h: -h.score)[: self.beams]
        going = [c for c, end in zip(extended, ended, strict=True) if not end][: self.beams]
        if not going:
            self.over = True
            return []
        # Stop strings can end more beams than `</s>` could; the places left over are held by hopeless copies.
        going += [(_NEVER, *going[0][1:])] * (self.beams - len(going))
        self.open, self.scores = [ids for _, _, ids in going], [score for score, _, _ in going]
        hope = self.scores[0] / length**self.length_penalty
        if len(self.finished) == self.beams and hope <= self.finished[-1].score:
            self.over = True
        return [beam for _, beam, _ in going]

    def best(self) -> Hypothesis:
        """The finished text of the highest score."""
        return self.finished[0]
