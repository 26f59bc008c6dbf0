"""The opinion grammar: sentences whose verdict lies in how the words are joined, not in which words they are."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from kosmos_eval.data.mini import lexicon
from kosmos_eval.data.mini.lexicon import NEGATIVE, POSITIVE

SHORTEST, LONGEST = 20, 180


@dataclass(frozen=True, slots=True)
class Opinion:
    """A sentence and whether it praises or blames."""

    text: str
    positive: bool

    @property
    def content(self) -> str:
        """Its words alone: the same words with other punctuation are the same sentence to the train/eval wall."""
        return " ".join(re.findall(r"[a-z']+", self.text.lower()))


@dataclass(frozen=True, slots=True)
class Topic:
    """What a sentence is about: a thing, two of its parts, and what people did with it."""

    thing: str
    part: str
    other: str
    done: str


def random_topic(rng: random.Random) -> Topic:
    """A thing of some domain and two different parts of it."""
    domain = rng.choice(lexicon.DOMAINS)
    part, other = rng.sample(domain.parts, 2)
    return Topic(rng.choice(domain.things), part, other, rng.choice(domain.done))


def turned(polarity: str) -> str:
    """The other polarity."""
    return NEGATIVE if polarity == POSITIVE else POSITIVE


def article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' or words.startswith('honest') else 'a'} {words}"


class Speaker:
    """Makes clauses about one topic. Each method says something of the polarity it is given."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.topic = random_topic(rng)

    def adjective(self, polarity: str) -> str:
        return self.rng.choice(lexicon.ADJECTIVES[polarity])

    def noun(self, polarity: str) -> str:
        return self.rng.choice(lexicon.NOUN_PHRASES[polarity])

    def verb(self, polarity: str) -> str:
        return self.rng.choice(lexicon.VERB_PHRASES[polarity])

    def feeling(self, polarity: str) -> str:
        return self.rng.choice(lexicon.FEELINGS[polarity])

    def parts(self) -> tuple[str, str, str]:
        """Three parts to say something of."""
        return self.topic.part, self.topic.other, self.topic.part

    def people(self) -> str:
        return self.rng.choice(lexicon.PEOPLE)

    def subject(self, part: str | None = None) -> str:
        """The thing itself or one of its parts."""
        t = self.topic
        return self.rng.choice([f"the {part or t.part}", f"the {part or t.part}", f"this {t.thing}", f"the {t.thing}"])

    def plain(self, polarity: str, part: str | None = None) -> str:
        """A clause that says what it means."""
        t, pick = self.topic, self.rng.randrange(6)
        if pick <= 1:
            return f"{self.subject(part)} is {self.rng.choice(lexicon.ADVERBS)}{self.adjective(polarity)}"
        if pick <= 3:
            return f"{self.rng.choice(['this', 'the'])} {t.thing} {self.verb(polarity)}"
        if pick == 4:
            return f"the {part or t.part} leaves me {self.feeling(polarity)}"
        return f"this is {article(self.adjective(polarity))} {t.thing}"

    def negated(self, polarity: str, part: str | None = None) -> str:
        """A clause that means the opposite of its opinion word."""
        t, pick, against = self.topic, self.rng.randrange(8), turned(polarity)
        if pick <= 3:
            return f"{self.subject(part)} {self.rng.choice(lexicon.NEGATORS).format(a=self.adjective(against))}"
        if pick == 4:
            return f"there is nothing {self.adjective(against)} about the {part or t.part}"
        if pick == 5:
            return f"nobody could call this {t.thing} {article(self.noun(against))}"
        if pick == 6:
            return f"the {part or t.part} did not leave me {self.feeling(against)}"
        return f"it would be wrong to call the {part or t.part} {self.adjective(against)}"

    def clause(self, polarity: str, part: str | None = None, negation: float = 0.15) -> str:
        return self.negated(polarity, part) if self.rng.random() < negation else self.plain(polarity, part)


def simple(speaker: Speaker, polarity: str) -> str:
    """One opinion, said plainly, perhaps twice or thrice."""
    clauses = list(dict.fromkeys(speaker.plain(polarity, part) for part in speaker.parts()))
    return speaker.rng.choice([clauses[0], " and ".join(clauses[:2]), " , ".join(clauses[:2]), " , ".join(clauses)])


def negation(speaker: Speaker, polarity: str) -> str:
    """One opinion by denial of the other."""
    if speaker.rng.random() < 0.5:
        return speaker.negated(polarity)
    return f"{speaker.negated(polarity)} , and {speaker.clause(polarity, speaker.topic.other)}"


def contrast(speaker: Speaker, polarity: str) -> str:
    """Something for either side; the joint says which one is the verdict."""
    t = speaker.topic
    weak, strong = speaker.clause(turned(polarity), t.part), speaker.clause(polarity, t.other)
    return speaker.rng.choice([
        f"{weak} , but {strong}",
        f"{weak} , yet {strong}",
        f"although {weak} , {strong}",
        f"{strong} , even though {weak}",
        f"{strong} , although {weak}",
        f"{weak} ; even so , {strong}",
        f"{weak} , and still {strong}",
        f"despite {article(speaker.adjective(turned(polarity)))} {t.part} , {strong}",
        f"for all its {speaker.adjective(turned(polarity))} {t.part} , {strong}",
        f"{strong} in spite of its {speaker.adjective(turned(polarity))} {t.part}",
        f"never mind that {weak} : {strong}",
    ])


def conditional(speaker: Speaker, polarity: str) -> str:
    """What would have been, and so is not."""
    t, against = speaker.topic, turned(polarity)
    return speaker.rng.choice([
        f"with a more {speaker.adjective(against)} {t.part} this could have been {article(speaker.noun(against))}",
        f"had the {t.part} been {speaker.adjective(against)} , this would have been {article(speaker.noun(against))}",
        f"it might have been {article(speaker.noun(against))} if the {t.part} were {speaker.adjective(against)}",
        f"were it not for the {speaker.adjective(polarity)} {t.part} , "
        f"i would call this {t.thing} {speaker.adjective(against)}",
        f"only the {speaker.adjective(polarity)} {t.part} keeps it from being {article(speaker.noun(against))}",
        f"if you think {speaker.plain(against)} , look again : {speaker.clause(polarity, t.other)}",
    ])


def expectation(speaker: Speaker, polarity: str) -> str:
    """What others said, or what one hoped or feared, against what was found."""
    t, against = speaker.topic, turned(polarity)
    hoped = "hoped for" if against == POSITIVE else "feared"
    return speaker.rng.choice([
        f"{speaker.people()} promised {article(speaker.noun(against))} ; i found {article(speaker.noun(polarity))}",
        f"{speaker.people()} call it {speaker.adjective(against)} . {speaker.people()} are wrong",
        f"i {hoped} {article(speaker.adjective(against))} {t.thing} and got {article(speaker.adjective(polarity))} one",
        f"i expected the {t.part} to be {speaker.adjective(against)} . it was not",
        f"{speaker.people()} warned me that {speaker.plain(against)} . it turned out otherwise",
        f"less {speaker.adjective(against)} than {speaker.people()} say , and far more {speaker.adjective(polarity)}",
        f"i have {t.done} many {speaker.adjective(against)} things , and this {t.thing} is not one of them",
        f"what looks {speaker.adjective(against)} at first proves {speaker.adjective(polarity)} in the end",
    ])


def comparison(speaker: Speaker, polarity: str) -> str:
    """A verdict against the rest of its kind."""
    t = speaker.topic
    return speaker.rng.choice([
        f"i have seldom {t.done} a more {speaker.adjective(polarity)} {t.thing}",
        f"i have {t.done} more {speaker.adjective(turned(polarity))} things than this {t.thing} , and not many of them "
        f"had a more {speaker.adjective(polarity)} {t.part}",
        f"the most {speaker.adjective(polarity)} {t.thing} i have {t.done} in years",
        f"other people's {t.thing} may be {speaker.adjective(turned(polarity))} ; this one {speaker.verb(polarity)}",
        f"next to the last {t.thing} , {speaker.rng.choice(['which was', 'itself'])} "
        f"{speaker.adjective(turned(polarity))} , {speaker.plain(polarity)}",
    ])


KINDS: tuple[tuple[Callable[[Speaker, str], str], int], ...] = (
    (simple, 56), (negation, 10), (contrast, 17), (conditional, 5), (expectation, 6), (comparison, 6),
)


def tidy(text: str, rng: random.Random) -> str:
    """Punctuation as treebanks write it (apart, lower case), or as people do."""
    text = text.rstrip(" .") + rng.choice([" .", " .", " .", " !"])
    if rng.random() < 0.5:
        return text
    for mark in ",.;:!":
        text = text.replace(f" {mark}", mark)
    if rng.random() < 0.4:
        text = ". ".join(part[:1].upper() + part[1:] for part in text.split(". ")).replace(" i ", " I ")
    return text


def random_opinion(rng: random.Random, positive: bool) -> Opinion:
    """A sentence of 20 to 180 characters with the verdict asked for."""
    kinds, weights = zip(*KINDS, strict=True)
    while True:
        (kind,) = rng.choices(kinds, weights)
        text = tidy(kind(Speaker(rng), POSITIVE if positive else NEGATIVE), rng)
        if SHORTEST <= len(text) <= LONGEST:
            return Opinion(text, positive)
