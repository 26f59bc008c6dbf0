"""What the decoder is trained on: a script of texts and pictures, turned into one sequence of ids with its targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from kosmos_eval.mini.dense_labels import Place
from kosmos_eval.mini.tokenizer import BOS, EOS, IMAGE_TOKENS, build_tokenizer

_TOKENIZER = build_tokenizer()
_IDS = _TOKENIZER.get_vocab(with_added_tokens=True)
BOI, EOI = _IDS["<image>"], _IDS["</image>"]
_FIRST_PLACEHOLDER, _FLOOR = 4, 0.02
ANSWER, LANGUAGE = 4.0, 0.03
"""How much a closed answer counts, and a letter of a text that is only read. A transcript's letter counts 1."""
RANKS = 24
"""How many characters of one image token are told apart by their place among them."""


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of text. `weight` says how much predicting it counts: 0 for what a prompt gives.

    `places` says where the characters after the leading space stand in the picture before; `scores` (by word) what
    each word says, for the text of an opinion; `sides` what an answer rests on: which helper is to say 0 or 1;
    `picture` which of the pictures so far `places` are in.
    """

    text: str
    weight: float = 0.0
    places: Sequence[Place] | None = None
    scores: dict[str, float] | None = None
    sides: Mapping[int, int] | None = None
    picture: int = -1


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture by its image tokens (64, width), unscaled."""

    embeds: Tensor


@dataclass(frozen=True, slots=True)
class End:
    """`</s>`."""

    weight: float = 0.5


Part = Words | Picture | End


@dataclass(slots=True)
class TrainingRow:
    """Ids; where pictures start; how much each id counts as a target; and what the helpers are to learn.

    `here` and `ahead` are (position, position of an image token): where the character at a position was read, and
    where the next one will be; `bins` is (position, bin of the next character); `starts` (position, position of the
    first token read from the same image token, how many came between); `scores` (position, score of the word that ended
    before it); `verdicts` (position of a question, position of a scored word, its share of the scores);
    `sides` (position of a question, a helper, what it is to say).
    """

    ids: list[int] = field(default_factory=lambda: [BOS])
    weights: list[float] = field(default_factory=lambda: [0.0])
    pictures: list[tuple[int, Tensor]] = field(default_factory=list)
    here: list[tuple[int, int]] = field(default_factory=list)
    ahead: list[tuple[int, int]] = field(default_factory=list)
    bins: list[tuple[int, int]] = field(default_factory=list)
    starts: list[tuple[int, int, int]] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)
    verdicts: list[tuple[int, int, float]] = field(default_factory=list)
    sides: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, number: int, weight: float) -> None:
        self.ids.append(number)
        self.weights.append(weight)


def build_row(parts: Sequence[Part]) -> TrainingRow:
    """The parts in order after `<s>`; adjacent texts are joined before they are tokenised, as the harness does."""
    row = TrainingRow()
    run: list[Words] = []
    for part in parts:
        if isinstance(part, Words):
            run.append(part)
            continue
        _add_run(row, run)
        run = []
        if isinstance(part, End):
            row.add(EOS, part.weight)
        else:
            row.add(BOI, 0.0)
            row.pictures.append((len(row.ids), part.embeds))
            for number in range(IMAGE_TOKENS):
                row.add(_FIRST_PLACEHOLDER + number, 0.0)
            row.add(EOI, 0.0)
    _add_run(row, run)
    return row


def _add_run(row: TrainingRow, run: Sequence[Words]) -> None:
    """Tokenises a run of texts. Each text starts with a space, or goes on with the word before it."""
    if not run:
        return
    encoded = _TOKENIZER.encode("".join(part.text for part in run), add_special_tokens=False)
    owner, inside, scored = 0, 0, len(row.scores)
    for number, piece in zip(encoded.ids, encoded.tokens, strict=True):
        while inside >= len(run[owner].text):
            owner, inside = owner + 1, inside - len(run[owner].text)
        part = run[owner]
        row.add(number, part.weight)
        if part.places is not None:
            _point(row, part, inside - 1, inside + len(piece) - 2)
        if piece[0] == "▁":
            _score(row, run, owner, inside)
        if inside == 0 and part.sides is not None:
            row.sides += [(len(row.ids) - 2, helper, bit) for helper, bit in part.sides.items()]
        inside += len(piece)
        if part.weight > 1 and scored < len(row.scores):
            _judge(row, row.scores[scored:])
            scored = len(row.scores)


def _point(row: TrainingRow, part: Words, first: int, last: int) -> None:
    """The newest token shows characters `first..last`: it was read there, and the token before it had to look there."""
    places = part.places or ()
    if not row.pictures or last >= len(places):
        return
    start, position = row.pictures[part.picture][0], len(row.ids) - 1
    if last >= 0:
        _read(row, position, start + places[last].token)
    ahead = places[max(first, 0)]
    row.ahead.append((position - 1, start + ahead.token))
    row.bins.append((position - 1, ahead.bin))


def _read(row: TrainingRow, position: int, source: int) -> None:
    """The newest token was read from an image token: as the first of it, or after others."""
    follows = row.starts and row.here[-1] == (position - 1, source)
    begun = row.starts[-1][1] if follows else position
    row.here.append((position, source))
    row.starts.append((position, begun, min(position - begun, RANKS - 1)))


def _score(row: TrainingRow, run: Sequence[Words], owner: int, inside: int) -> None:
    """The newest token starts a word, so the word before it is whole and can be judged."""
    if inside == 0 and owner:
        owner, inside = owner - 1, len(run[owner - 1].text)
    scores, before = run[owner].scores, run[owner].text[:inside].split()
    if scores is not None and before and (score := scores.get(before[-1])) is not None:
        row.scores.append((len(row.ids) - 1, score))


def _judge(row: TrainingRow, scores: Sequence[tuple[int, float]]) -> None:
    """The newest token answers, so the one before it asked: it had to look at the words that say most."""
    total = sum(abs(score) + _FLOOR for _, score in scores)
    row.verdicts += [(len(row.ids) - 2, position, (abs(score) + _FLOOR) / total) for position, score in scores]
