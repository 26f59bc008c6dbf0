"""The texts of the mini memes. Each says that someone is like the picture, or that they are unlike it.

Whether that is kind or mean, the text alone does not say: it depends on what the picture shows.
"""

from __future__ import annotations

import random

LIKE, UNLIKE = "like", "unlike"

_CALLS = (
    "dear {who}", "hey {who}", "to my {who}", "listen , {who}", "honestly , {who}", "a note for my {who}", "oh {who}",
    "guess what , {who}",
)
_PEOPLE = (
    "neighbor", "boss", "teacher", "coach", "cousin", "roommate", "brother", "sister", "barber", "dentist", "mailman",
    "landlord", "captain", "chef", "singer", "driver", "student", "partner", "uncle", "aunt", "colleague", "mayor",
    "friend", "tailor", "painter", "plumber", "baker", "pilot", "nurse", "butcher", "gardener", "waiter", "clerk",
)
_CORES = {
    LIKE: (
        "this reminds me of you", "you smell just like this", "i found your portrait",
        "my day with you looks like this",
        "this is you on the inside", "you and this could be twins", "you bring this wherever you go",
        "your work deserves this picture", "here is what your songs sound like", "this must be your relative",
        "when you walk in , i see this", "they named this after you", "your visit felt like this",
        "you are exactly this to me", "one look at this and i think of you", "your cooking tastes like this",
        "that is how you make me feel", "this picture says what you are", "you remind everyone of this",
        "we put this on your door because it fits",
    ),
    UNLIKE: (
        "you are the opposite of this", "nobody would mistake you for this", "life without you looks like this",
        "you are nothing like this", "only when you leave do i see this", "you could never be this",
        "you make me forget that this exists", "you and this do not belong together", "this goes away when you come",
        "you drive things like this away", "not even a little of this is in you", "this is what we have since you left",
        "you have never been anything like this", "your work deserves the reverse of this",
        "this happens only when you are absent", "whatever you are , it is not this", "unlike this , you stay the same",
        "i see this as soon as you are gone", "your cooking tastes like anything but this",
        "far from this is where you are",
    ),
}
_TAILS = (
    "", "", "", " , truly", " , believe me", " , as we all know", " , i think", " , for sure", " , no doubt",
    " , they say", " , as i wrote before",
)


def random_meme_text(rng: random.Random, stance: str) -> str:
    """A short address, a core of the stance asked for, and perhaps a tail."""
    text = rng.choice(_CORES[stance]) + rng.choice(_TAILS)
    if rng.random() < 0.97:
        text = f"{rng.choice(_CALLS).format(who=rng.choice(_PEOPLE))} , {text}"
    return text.replace(" ,", ",")
