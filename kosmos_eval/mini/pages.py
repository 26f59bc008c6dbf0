"""Pictures of text for training: the official look for a share of them, else other faces, sizes and places."""

from __future__ import annotations

import random
from collections.abc import Sequence

from kosmos_eval.data.mini.rendered_sst2 import FONT_SIZES, FONTS
from kosmos_eval.data.mini.seeding import belongs_to_eval
from kosmos_eval.data.mini.sentences import Opinion, random_opinion
from kosmos_eval.data.render_text import RenderedText, render_text
from kosmos_eval.mini.tokenizer import ASCII

_OPENING_MARKS, _CLOSING_MARKS = "\"'([$#", ".,;:!?)]'\"-%"


def random_word(rng: random.Random) -> str:
    """A word of any characters, so that reading does not come down to guessing."""
    kind = rng.random()
    if kind < 0.5:
        return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(1, 9)))
    if kind < 0.7:
        return str(rng.randint(0, 10 ** rng.randint(1, 4)))
    if kind < 0.85:
        return "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=rng.randint(1, 6)))
    return "".join(rng.choices(ASCII, k=rng.randint(1, 6)))


def disturbed(rng: random.Random, text: str) -> str:
    """The text in other letter case, or with marks and random words strewn in."""
    kind = rng.random()
    if kind < 0.1:
        return text.upper()
    if kind < 0.25:
        return text.title()
    words = text.split()
    share = rng.choice((0.1, 0.3))
    for place in range(len(words)):
        if rng.random() < share:
            words[place] = random_word(rng)
        elif rng.random() < share / 3:
            words[place] = rng.choice(_OPENING_MARKS) + words[place] + rng.choice(_CLOSING_MARKS)
    return " ".join(words)


def training_opinion(rng: random.Random) -> Opinion:
    """An opinion of the mini grammar from the training side of the suite's wall."""
    positive = rng.random() < 0.5
    while True:
        opinion = random_opinion(rng, positive)
        if not belongs_to_eval(opinion.content):
            return opinion


def random_text(rng: random.Random, sentences: Sequence[str], disturbance: float = 0.3) -> str:
    """A sentence of the corpus or of the mini grammar, disturbed now and then."""
    text = rng.choice(sentences) if rng.random() < 0.75 else training_opinion(rng).text
    return disturbed(rng, text) if rng.random() < disturbance else text


def render_page(rng: random.Random, text: str, official: float) -> RenderedText | None:
    """The text at the official look for a share `official` of draws, else in a random one; None if it does not fit."""
    if rng.random() > official:
        size = rng.choice(FONT_SIZES)
        pitch = round(size * rng.choice((1.27, 1.27, 1.4)))
        try:
            return render_text(
                text, font=rng.choice(FONTS), font_size=size, line_pitch=pitch,
                x_offset=rng.randint(-10, 24), y_offset=rng.randint(-10, 60),
            )  # fmt: skip
        except ValueError:
            pass
    try:
        return render_text(text)
    except ValueError:
        return None


def full_page(rng: random.Random, sentences: Sequence[str], official: float) -> RenderedText:
    """A page with as much text as a picture takes: dense labels are worth most where there is most to read."""
    words = " ".join(random_text(rng, sentences) for _ in range(6)).split()
    words = [word for word in words if len(word) < 20]
    room = rng.choice((20, 60, 90, 90))
    while True:
        page = render_page(rng, " ".join(words[:room]), official)
        if page is not None:
            return page
        room = int(room * 0.85)
