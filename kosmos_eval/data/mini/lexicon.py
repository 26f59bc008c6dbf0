"""The words of the opinion grammar, each filed under what it says of its subject when nothing turns it round.

`+` is praise and `-` is blame. All of it was written for this suite; none of it comes from a benchmark.
"""

from __future__ import annotations

from dataclasses import dataclass

POSITIVE, NEGATIVE = "+", "-"


def _list(words: str) -> list[str]:
    """Words between spaces or, where there are bars, phrases between those."""
    return words.split("|" if "|" in words else None)


ADJECTIVES = {
    POSITIVE: _list(
        "lovely charming sharp witty tender gripping elegant bright generous vivid warm clever fresh honest graceful "
        "delightful thoughtful moving inventive polished memorable superb splendid rich lively crisp confident subtle "
        "enchanting convincing humane joyful masterly nimble original playful precise radiant satisfying sincere "
        "spirited striking stylish sure-footed touching wise wonderful well-judged absorbing brilliant excellent fine"
    ),
    NEGATIVE: _list(
        "dull clumsy stale bland hollow dreary muddled shrill lazy careless grim tedious forgettable messy cold crude "
        "flat shoddy tired awkward cheap pompous sloppy wooden sour lifeless noisy pointless predictable bloated "
        "drab feeble heavy-handed inept joyless leaden limp mawkish mechanical murky overlong pretentious ragged "
        "sluggish smug soggy stodgy tiresome uneven wearisome awful dismal poor bad"
    ),
}

VERB_PHRASES = {
    POSITIVE: _list(
        "wins you over|rewards your patience|earns every minute|lingers in the memory|hits every mark|"
        "shines throughout|lifts the spirits|keeps its promises|casts a spell|surprises at every turn|"
        "holds together beautifully|deserves a wide audience|leaves you smiling|delivers the goods|"
        "sparkles from start to finish|gets everything right|repays a second visit|never puts a foot wrong|"
        "makes the evening fly|exceeds every expectation|sings|soars|glows|delights|charms|dazzles|works like a dream|"
        "stays with you for days|is worth every penny|is a joy"
    ),
    NEGATIVE: _list(
        "wears you down|tests your patience|wastes your time|fades within the hour|misses every mark|sags throughout|"
        "dampens the spirits|breaks its promises|puts you to sleep|stumbles at every turn|falls apart quickly|"
        "deserves to be forgotten|leaves you yawning|fails to deliver|drags from start to finish|gets everything wrong|"
        "hardly survives a second look|never finds its feet|makes the evening crawl|betrays every expectation|"
        "flops|sinks|grates|bores|annoys|plods|collapses under its own weight|is gone by morning|"
        "is a waste of money|is a chore"
    ),
}

NOUN_PHRASES = {
    POSITIVE: _list(
        "triumph|delight|gem|treat|pleasure|masterpiece|small miracle|welcome surprise|classic|thing of beauty|"
        "breath of fresh air|success|winner|marvel|treasure|hit"
    ),
    NEGATIVE: _list(
        "failure|bore|mess|letdown|chore|disaster|disappointment|sorry affair|dud|missed chance|"
        "slog|waste|flop|muddle|shambles|misfire"
    ),
}

FEELINGS = {
    POSITIVE: _list("happy glad moved thrilled grateful enchanted refreshed impressed charmed cheered"),
    NEGATIVE: _list("bored annoyed weary let-down irritated sleepy cheated restless gloomy embarrassed"),
}

@dataclass(frozen=True, slots=True)
class Domain:
    """A kind of thing people have opinions of: its names, its parts, and what one has done with it."""

    things: list[str]
    parts: list[str]
    done: list[str]


DOMAINS = (
    Domain(
        _list("film movie picture drama comedy thriller sequel documentary remake western"),
        _list("plot script cast acting ending dialogue music editing direction story pace lead finale humor"),
        _list("seen watched"),
    ),
    Domain(
        _list("book novel memoir story collection biography essay debut trilogy"),
        _list("prose plot ending hero narrator opening chapter style translation argument setting cover"),
        _list("read opened"),
    ),
    Domain(
        _list("restaurant cafe bistro diner bakery bar kitchen"),
        _list("soup service menu bread dessert coffee sauce wine waiter fish salad seasoning"),
        _list("visited tried"),
    ),
    Domain(
        _list("hotel inn resort guesthouse hostel spa"),
        _list("room bed breakfast view lobby staff pool bathroom garden welcome reception"),
        _list("visited booked"),
    ),
    Domain(
        _list("album concert song record opera symphony band"),
        _list("singing melody rhythm lyric sound voice chorus encore orchestra guitar"),
        _list("heard played"),
    ),
    Domain(
        _list("game puzzle app sequel simulator adventure"),
        _list("story design control interface level soundtrack artwork tutorial difficulty combat"),
        _list("played tried"),
    ),
    Domain(
        _list("play musical show revue performance ballet"),
        _list("staging cast lighting script timing set choreography costume dialogue"),
        _list("seen attended"),
    ),
    Domain(
        _list("museum tour exhibition festival cruise park trip"),
        _list("guide layout signage collection schedule atmosphere location organization"),
        _list("visited joined"),
    ),
)

ADVERBS = (
    "", "", "", "", "very ", "really ", "quite ", "truly ", "rather ", "deeply ", "surprisingly ", "consistently ",
)
NEGATORS = (
    "is not {a}", "is hardly {a}", "is far from {a}", "is anything but {a}", "is never {a}", "is by no means {a}",
    "is not at all {a}", "does not seem {a}", "can hardly be called {a}", "is scarcely {a}", "is in no way {a}",
)
PEOPLE = (
    "critics", "my friends", "the posters", "the reviews", "our neighbors", "my colleagues", "the adverts",
    "some people",
)
