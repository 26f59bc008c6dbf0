"""Caption metrics: CIDEr, BLEU-1..4, METEOR, ROUGE-L and SPICE, all as pycocoevalcap 1.2 defines them.

KOSMOS-1 tables 2 and 3 print CIDEr and SPICE times 100. The prompt ("An image of") is no part of the caption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from kosmos_eval.metrics.base import PER_CENT, Metric, Prediction, ReferenceCorpus, Score, undefined
from kosmos_eval.metrics.cider import MIN_DOCUMENTS, cider
from kosmos_eval.metrics.meteor import meteor
from kosmos_eval.metrics.ptb import tokenize
from kosmos_eval.metrics.spice import SpiceUnavailableError, spice
from kosmos_eval.metrics.statistics import standard_error

BLEU_ORDERS = 4
NAMES = ("cider", *(f"bleu_{n}" for n in range(1, BLEU_ORDERS + 1)), "meteor", "rouge_l", "spice")

# These corpus figures are means over images, so that a standard error can be told; BLEU and METEOR are not.
_MEANS = frozenset({"cider", "rouge_l", "spice"})

References = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Captions(Metric):
    """All caption metrics of one evaluation, CIDEr first. Predictions without a text are left out; `n` says so.

    `with_corpus` gives the references of the whole split: CIDEr's document frequencies then come from all of it, and a
    limit changes no image's CIDEr. Without it they come from the images evaluated, as in the official code.
    """

    corpus: ReferenceCorpus | None = field(default=None, repr=False, compare=False)
    with_spice: bool = True
    name: str = "captions"

    def with_corpus(self, corpus: ReferenceCorpus) -> Captions:
        return replace(self, corpus=corpus)

    @property
    def rule(self) -> str:
        counted = "images evaluated" if self.corpus is None else "whole split"
        return f"pycocoevalcap 1.2; CIDEr's document frequencies of the {counted}"

    def per_sample(self, predictions: Sequence[Prediction]) -> list[Mapping[str, float]]:
        """CIDEr (10 is the most an image can have), METEOR, ROUGE-L, BLEU and, where there, SPICE of each image."""
        used = [index for index, prediction in enumerate(predictions) if _is_scorable(prediction)]
        rows: list[Mapping[str, float]] = [{} for _ in predictions]
        if used:
            evaluation = self._evaluate([predictions[index] for index in used])
            for place, index in enumerate(used):
                rows[index] = {name: values[place] for name, values in evaluation.each.items()}
        return rows

    def compute(self, predictions: Sequence[Prediction]) -> list[Score]:
        scorable = [prediction for prediction in predictions if _is_scorable(prediction)]
        names = NAMES if self.with_spice else NAMES[:-1]
        if not scorable:
            return [undefined(name, "no prediction with a caption and references") for name in names]
        evaluation = self._evaluate(scorable)
        return [_score(name, evaluation, len(scorable)) for name in names]

    def _evaluate(self, predictions: Sequence[Prediction]) -> _Evaluation:
        hypotheses = tuple(prediction.text or "" for prediction in predictions)
        references = tuple(_references(prediction.target) for prediction in predictions)
        evaluated = {prediction.sample_id for prediction in predictions}
        others = tuple(_references(texts) for key, texts in (self.corpus or {}).items() if key not in evaluated)
        return _evaluate(hypotheses, references, tuple(filter(None, others)), self.with_spice)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """Figures in pycocoevalcap's own unit: of the whole, of each image, and why one is not there."""

    whole: Mapping[str, float]
    each: Mapping[str, Sequence[float]]
    reasons: Mapping[str, str]


@lru_cache(maxsize=2)  # `compute` and `per_sample` of one run are one evaluation: METEOR takes a while
def _evaluate(
    hypotheses: References, references: tuple[References, ...], others: tuple[References, ...], with_spice: bool
) -> _Evaluation:
    tokens = _tokenize_groups([hypotheses])[0]
    groups = _tokenize_groups(references)
    rest = _tokenize_groups(others)
    whole: dict[str, float] = {}
    each: dict[str, Sequence[float]] = {}
    reasons: dict[str, str] = {}
    if len(groups) + len(rest) < MIN_DOCUMENTS:
        reasons["cider"] = f"CIDEr's document frequencies need at least {MIN_DOCUMENTS} images"
    else:
        each["cider"] = cider(tokens, groups, rest)
        whole["cider"] = sum(each["cider"]) / len(tokens)
    _add_bleu(tokens, groups, whole, each)
    whole["meteor"], each["meteor"] = meteor(tokens, groups)
    _add_rouge(tokens, groups, whole, each)
    if with_spice:
        try:
            whole["spice"], each["spice"] = spice(tokens, groups)
        except SpiceUnavailableError as error:
            reasons["spice"] = str(error)
    return _Evaluation(whole, each, reasons)


def _tokenize_groups(groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """Tokens of several groups of captions by one call: starting Java is what takes the time."""
    tokens = iter(tokenize([caption for group in groups for caption in group]))
    return [[next(tokens) for _ in group] for group in groups]


def _keyed(tokens: Sequence[str], groups: Sequence[Sequence[str]]) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """References and hypotheses as pycocoevalcap takes them."""
    return {i: list(refs) for i, refs in enumerate(groups)}, {i: [text] for i, text in enumerate(tokens)}


def _add_bleu(
    tokens: Sequence[str],
    groups: Sequence[Sequence[str]],
    whole: dict[str, float],
    each: dict[str, Sequence[float]],
) -> None:
    from pycocoevalcap.bleu.bleu import Bleu

    corpus, images = Bleu(BLEU_ORDERS).compute_score(*_keyed(tokens, groups), verbose=0)
    for n in range(BLEU_ORDERS):
        whole[f"bleu_{n + 1}"] = float(corpus[n])
        each[f"bleu_{n + 1}"] = [float(value) for value in images[n]]


def _add_rouge(
    tokens: Sequence[str],
    groups: Sequence[Sequence[str]],
    whole: dict[str, float],
    each: dict[str, Sequence[float]],
) -> None:
    from pycocoevalcap.rouge.rouge import Rouge

    mean, images = Rouge().compute_score(*_keyed(tokens, groups))
    whole["rouge_l"] = float(mean)
    each["rouge_l"] = [float(value) for value in images]


def _score(name: str, evaluation: _Evaluation, n: int) -> Score:
    if name in evaluation.reasons:
        return undefined(name, evaluation.reasons[name], n)
    error = standard_error(evaluation.each[name]) if name in _MEANS else None
    value = PER_CENT * evaluation.whole[name]
    return Score(name, value, n, stderr=None if error is None else PER_CENT * error)


def _is_scorable(prediction: Prediction) -> bool:
    return prediction.text is not None and bool(_references(prediction.target))


def _references(target: Any) -> References:
    """The reference captions of a target; none where it is not a list of texts."""
    if not isinstance(target, Sequence) or isinstance(target, str | bytes):
        return ()
    return tuple(str(caption) for caption in target)
