"""Metrics: pure functions of predictions. See `base` for what a metric is."""

from kosmos_eval.metrics.accuracy import Accuracy, BinomialP
from kosmos_eval.metrics.base import Metric, Prediction, ReferenceCorpus, Score, compute_all, per_sample_all
from kosmos_eval.metrics.baselines import ChanceBaseline, ConstantBaseline, MajorityBaseline
from kosmos_eval.metrics.captions import Captions
from kosmos_eval.metrics.exact_match import ExactMatch
from kosmos_eval.metrics.roc_auc import RocAuc
from kosmos_eval.metrics.unanswerable import Unanswerable
from kosmos_eval.metrics.vqa import VqaAccuracy

__all__ = [
    "Accuracy",
    "BinomialP",
    "Captions",
    "ChanceBaseline",
    "ConstantBaseline",
    "ExactMatch",
    "MajorityBaseline",
    "Metric",
    "Prediction",
    "ReferenceCorpus",
    "RocAuc",
    "Score",
    "Unanswerable",
    "VqaAccuracy",
    "compute_all",
    "per_sample_all",
]
