"""Raven IQ: which picture completes the matrix? IQ50 of KOSMOS-1 (table 6), or RAVEN (Zhang et al. 2019)."""

from kosmos_eval import Accuracy, BinomialP, ChanceBaseline, PuzzleTask


class RavenIQ(PuzzleTask):
    """A sample's id is its `exp-N` folder, the path of its .npz without suffix, or the id of the index.

    IQ50 has 6 candidates a puzzle (chance 16.7), RAVEN 8 (12.5): scores on one say nothing about the other.
    """

    name = "raven_iq"
    splits = {"eval": "test", "demos": "train"}
    metrics = (Accuracy(), ChanceBaseline(), BinomialP())
    official_counts = {"test": 50}
    layout = (
        "IQ50: exp-{1..50}/query-{i}.png and answer-{a..f}.png with labels.json, .csv or .txt; or RAVEN's "
        "{config}/RAVEN_{id}_{split}.npz; or index.jsonl of panel images"
    )
