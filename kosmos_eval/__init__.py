"""kosmos-eval: zero- and few-shot evaluation of KOSMOS multimodal language models.

The names below are the public ones: what the built-in tasks use, and what a plugin of yours may. Each is imported when
it is first asked for (PEP 562), so that `import kosmos_eval` and `kosmos-eval --help` load neither torch nor NumPy.
"""

# ruff: noqa: F401 -- the imports under TYPE_CHECKING are for type checkers; at run time the table serves

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "kosmos_eval.prompt": "Image Prompt Segment Tag Text Tokens",
    "kosmos_eval.task": "Sample Task",
    "kosmos_eval.errors": (
        "CheckpointError DataError ImageError KosmosEvalError PromptError RequestTooLongError UsageError"
    ),
    "kosmos_eval.request": "Choice Generate Request Response Stage",
    "kosmos_eval.metrics.base": "Metric Prediction Score",
    "kosmos_eval.metrics.accuracy": "Accuracy BinomialP",
    "kosmos_eval.metrics.baselines": "ChanceBaseline ConstantBaseline MajorityBaseline",
    "kosmos_eval.metrics.captions": "Captions",
    "kosmos_eval.metrics.exact_match": "ExactMatch",
    "kosmos_eval.metrics.roc_auc": "RocAuc",
    "kosmos_eval.metrics.unanswerable": "Unanswerable",
    "kosmos_eval.metrics.vqa": "VqaAccuracy",
    "kosmos_eval.data.files": "Record by_id read_jsonl read_lines read_list read_object",
    "kosmos_eval.data.rationales": "rationale_field read_rationales",
    "kosmos_eval.data.readers.captions": "CaptionTask Captioned read_coco read_split_list read_token_file",
    "kosmos_eval.data.readers.language": "LanguageTask",
    "kosmos_eval.data.readers.raven": "PuzzleTask",
    "kosmos_eval.data.readers.vqa": "VqaTask",
    "kosmos_eval.models": "load_model",
    "kosmos_eval.api": "dry_run evaluate load_task sweep",
    "kosmos_eval.tables": "leaderboard",
    "kosmos_eval.comparison": "compare",
    "kosmos_eval.examination": "doctor",
    "kosmos_eval.rescoring": "rescore",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()} | {
    "image_ref": "kosmos_eval.data.images",
    "load_image": "kosmos_eval.data.images",
}
_RENAMED = {"image_ref": "ref", "load_image": "load"}

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from kosmos_eval.api import dry_run, evaluate, load_task, sweep
    from kosmos_eval.comparison import compare
    from kosmos_eval.data.files import Record, by_id, read_jsonl, read_lines, read_list, read_object
    from kosmos_eval.data.images import load as load_image
    from kosmos_eval.data.images import ref as image_ref
    from kosmos_eval.data.rationales import rationale_field, read_rationales
    from kosmos_eval.data.readers.captions import Captioned, CaptionTask, read_coco, read_split_list, read_token_file
    from kosmos_eval.data.readers.language import LanguageTask
    from kosmos_eval.data.readers.raven import PuzzleTask
    from kosmos_eval.data.readers.vqa import VqaTask
    from kosmos_eval.errors import (
        CheckpointError,
        DataError,
        ImageError,
        KosmosEvalError,
        PromptError,
        RequestTooLongError,
        UsageError,
    )
    from kosmos_eval.examination import doctor
    from kosmos_eval.metrics.accuracy import Accuracy, BinomialP
    from kosmos_eval.metrics.base import Metric, Prediction, Score
    from kosmos_eval.metrics.baselines import ChanceBaseline, ConstantBaseline, MajorityBaseline
    from kosmos_eval.metrics.captions import Captions
    from kosmos_eval.metrics.exact_match import ExactMatch
    from kosmos_eval.metrics.roc_auc import RocAuc
    from kosmos_eval.metrics.unanswerable import Unanswerable
    from kosmos_eval.metrics.vqa import VqaAccuracy
    from kosmos_eval.models import load_model
    from kosmos_eval.prompt import Image, Prompt, Segment, Tag, Text, Tokens
    from kosmos_eval.request import Choice, Generate, Request, Response, Stage
    from kosmos_eval.rescoring import rescore
    from kosmos_eval.tables import leaderboard
    from kosmos_eval.task import Sample, Task


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), _RENAMED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
