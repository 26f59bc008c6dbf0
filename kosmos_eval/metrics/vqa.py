"""VQA accuracy by the official rule, and the variant that always normalises.

The rule (https://github.com/GT-Vision-Lab/VQA, vqaEval.py; Antol et al. 2015): an answer is compared with the answers
of all annotators but one, credited min(1, matches / 3), and the credit averaged over the one left out. The script
leaves out *equal records*, which needs unique answer ids; VizWiz has none. Here the one left out is left out by its
index, which is the same wherever the script is right.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kosmos_eval.metrics.base import Metric, Prediction, Score, grouped_mean_scores
from kosmos_eval.metrics.vqa_tables import ARTICLES, CONTRACTIONS, NUMBER_WORDS, PUNCTUATION

NOTHING_ANSWERED = "no prediction with an answer text and published answers of two annotators or more"

_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
# The script's pattern, (?!<=\d)(\.)(?!\d), has a slip for a look-behind; what is left is this.
_PERIOD_NOT_BEFORE_DIGIT = re.compile(r"\.(?!\d)")
# The script passes re.UNICODE, which is 32, where `count` stands: only so many periods are dropped.
_PERIODS_DROPPED = int(re.UNICODE)


@dataclass(frozen=True, slots=True)
class VqaAccuracy(Metric):
    """VQA accuracy over all questions and per answer type.

    The official script compares *raw* texts where all annotators agree ("Yes" is then wrong for "yes"), and normalises
    both sides elsewhere. `always_normalise` does so everywhere, as several other harnesses do: name it apart.
    """

    always_normalise: bool = False
    name: str = "vqa_accuracy"

    @classmethod
    def normalised(cls) -> VqaAccuracy:
        """The variant that normalises both sides of every question."""
        return cls(always_normalise=True, name="vqa_accuracy_normalised")

    @property
    def rule(self) -> str:
        where = "everywhere" if self.always_normalise else "where annotators differ"
        return f"official VQA: one annotator left out, min(1, matches / 3), mean; both sides normalised {where}"

    def per_sample(self, predictions: Sequence[Prediction]) -> list[Mapping[str, float]]:
        values = [self.of(prediction) for prediction in predictions]
        return [{} if value is None else {self.name: value} for value in values]

    def compute(self, predictions: Sequence[Prediction]) -> list[Score]:
        return grouped_mean_scores(self.name, predictions, self.of, absent=NOTHING_ANSWERED)

    def objection(self, target: Any) -> str | None:
        if len(annotator_answers(target)) == 1 or isinstance(target, str):
            return (
                f"has one answer; {self.name} leaves one annotator out, which leaves none to compare with: use "
                "ExactMatch(), or give the answers of several people"
            )
        return None

    def of(self, prediction: Prediction) -> float | None:
        """The accuracy of one prediction, in 0..1; `None` without a text or without annotators' answers (test sets),
        and where there is a single one: with it left out, none is left to match."""
        answers = annotator_answers(prediction.target)
        if prediction.text is None or len(answers) < 2:
            return None
        return accuracy(prediction.text, answers, always_normalise=self.always_normalise)


def annotator_answers(target: Any) -> list[str]:
    """The annotators' answers of a sample, as text; none where the target is not a list of answers."""
    if not isinstance(target, Sequence) or isinstance(target, str | bytes):
        return []
    return [str(answer) for answer in target]


def accuracy(answer: str, annotators: Sequence[str], *, always_normalise: bool = False) -> float:
    """VQA accuracy, in 0..1, of one answer."""
    truths, normalising = comparable(annotators, always_normalise=always_normalise)
    candidate = normalise(answer) if normalising else clean(answer)
    return credit(truths.count(candidate), len(truths))


def comparable(annotators: Sequence[str], *, always_normalise: bool = False) -> tuple[list[str], bool]:
    """The annotators' answers as they are compared, and whether that means normalised (see `VqaAccuracy`)."""
    cleaned = [clean(text) for text in annotators]
    if always_normalise or len(set(cleaned)) > 1:
        return [normalise(text) for text in cleaned], True
    return cleaned, False


def credit(matches: int, annotators: int) -> float:
    """The leave-one-out average in closed form: of ten, 0 matches give 0, then .3, .6, .9 and 1.

    Leaving out one of the matching annotators leaves `matches - 1`, leaving out another leaves `matches`. Fewer than
    ten annotators follow the same formula; of a single one nothing is left to match, so the credit is 0.
    """
    left_out_matching = matches * min(1.0, max(matches - 1, 0) / 3)
    left_out_other = (annotators - matches) * min(1.0, matches / 3)
    return (left_out_matching + left_out_other) / annotators


def clean(text: str) -> str:
    """The script's first step: newlines and tabs become blanks, outer blanks go."""
    return text.replace("\n", " ").replace("\t", " ").strip()


@lru_cache(maxsize=1 << 16)  # the same few thousand answers come back millions of times
def normalise(text: str) -> str:
    """The script's normalisation: punctuation, lower case, number words, articles, contractions."""
    words = (NUMBER_WORDS.get(word, word) for word in _without_punctuation(clean(text)).lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def _without_punctuation(text: str) -> str:
    """Drop a mark that touches a blank anywhere in the text, or any mark if there is a digit,digit; else blank it.

    The decision is taken on the text as it came, mark by mark: `1,000` gives `1000` and `t-shirt` gives `t shirt`, but
    `1,000 t-shirts` gives `1000 tshirts`. The colon and the apostrophe are no marks.
    """
    number_with_comma = _DIGIT_COMMA_DIGIT.search(text) is not None
    replacement = {
        ord(mark): "" if number_with_comma or f"{mark} " in text or f" {mark}" in text else " " for mark in PUNCTUATION
    }
    return _PERIOD_NOT_BEFORE_DIGIT.sub("", text.translate(replacement), count=_PERIODS_DROPPED)


def best_constant(targets: Iterable[Any]) -> str | None:
    """The one answer that would score highest if given to every question; `None` where there are no answers.

    Candidates are the annotators' own answers, as given and in normal form; of equal ones those in normal form go
    first, then the alphabet settles it.
    """
    raw: defaultdict[str, float] = defaultdict(float)  # where all annotators agree, texts are compared as they are
    normal: defaultdict[str, float] = defaultdict(float)
    candidates = set[str]()
    for target in targets:
        answers = annotator_answers(target)
        if not answers:
            continue
        truths, normalising = comparable(answers)
        totals = normal if normalising else raw
        for text, matches in Counter(truths).items():
            totals[text] += credit(matches, len(truths))
        candidates.update(truths, map(clean, answers))
    return min(
        candidates,
        key=lambda text: (-raw.get(text, 0.0) - normal.get(normalise(text), 0.0), normalise(text) != text, text),
        default=None,
    )
