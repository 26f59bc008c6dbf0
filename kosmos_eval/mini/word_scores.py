"""What each word says by itself: a bag-of-words model of the training phrases, used to teach the decoder its lexicon.

Letter by letter, a verdict on a whole phrase is a faint signal. A small regression tells after each word whether that
word praises or blames, from the very same training labels.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from kosmos_eval.data.mini.icons import NASTY, NICE
from kosmos_eval.data.mini.meme_texts import LIKE, UNLIKE, random_meme_text
from kosmos_eval.mini.sentences import LABELS, Labelled

_LEAST = 3
_MEMES = 4000
_SAID_OF_ALL = frozenset(["a", "an", "picture", "of", "the"])
"""Words that the account of every meme holds: they tell nothing."""
_SCALE = 2.0


def word_scores(phrases: Sequence[Labelled]) -> dict[str, float]:
    """Words seen a few times -> their weight in a logistic regression, squeezed into (-1, 1)."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    if len({p.label for p in phrases}) < 2:
        return {}
    counter = CountVectorizer(token_pattern=r"\S+", lowercase=False, min_df=_LEAST if len(phrases) > 1000 else 1)
    counts = counter.fit_transform([p.text for p in phrases])
    model = LogisticRegression(C=1.0, solver="liblinear")
    model.fit(counts, [p.label == "positive" for p in phrases])
    return {
        word: math.tanh(float(weight) / _SCALE)
        for word, weight in zip(counter.get_feature_names_out(), model.coef_[0], strict=True)
    }


def meme_scores() -> dict[str, float]:
    """What a word of a meme's account tells: of its text, that someone is unlike (-) or like (+) what is pictured; of
    what is pictured, whether people like it."""
    rng = random.Random("meme scores")
    texts = [
        Labelled(random_meme_text(rng, stance), label)
        for stance, label in zip((UNLIKE, LIKE), LABELS, strict=True)
        for _ in range(_MEMES // 2)
    ]
    scores = {word: score for word, score in word_scores(texts).items() if word not in _SAID_OF_ALL}
    for kinds, score in ((NICE, 1.0), (NASTY, -1.0)):
        scores |= {f"{kind.split()[-1]}.": score for kind in kinds}
    return scores
