"""CIDEr with the document frequencies of a whole split, by pycocoevalcap's own scorer.

CIDEr weighs an n-gram by how few images' references hold it, so its value depends on which images are counted: the
official code counts those evaluated. Here the rest of the split is counted too, if given, and a part of the split then
scores each image as the whole does. With nothing left out it is the official figure.
"""

from __future__ import annotations

from collections.abc import Sequence

MIN_DOCUMENTS = 2
"""With one image every document frequency is 1 of 1, every weight 0, and CIDEr undefined."""


def cider(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], others: Sequence[Sequence[str]] = ()
) -> list[float]:
    """CIDEr of each image (its mean is the corpus figure); `others` are the references of images not evaluated.

    All texts are PTB tokens. At least `MIN_DOCUMENTS` images must be there, evaluated or not.
    """
    from pycocoevalcap.cider.cider_scorer import CiderScorer, cook_refs

    scorer = CiderScorer(n=4, sigma=6.0)
    for hypothesis, refs in zip(hypotheses, references, strict=True):
        scorer += (hypothesis, list(refs))
    # The scorer counts documents over `crefs` and scores as many images as `ctest` has: more references than tests are
    # exactly "documents not evaluated". `compute_score` would assert that there are none, so its two steps are taken.
    scorer.crefs.extend(cook_refs(list(refs)) for refs in others)
    scorer.compute_doc_freq()
    return [float(value) for value in scorer.compute_cider()]
