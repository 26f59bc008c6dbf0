"""The skills: each draws an example and writes it as a script, in the wordings of `prompts/`."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from kosmos_eval.data.mini.captions import random_caption
from kosmos_eval.data.mini.hateful_memes import is_mean, tell_meme
from kosmos_eval.data.mini.icons import NASTY, NICE
from kosmos_eval.data.mini.meme_texts import LIKE, UNLIKE, random_meme_text
from kosmos_eval.data.mini.questions import Question, random_questions
from kosmos_eval.data.mini.scenes import Scene, article, describe, place_phrase
from kosmos_eval.data.mini.seeding import belongs_to_eval
from kosmos_eval.mini.dense_labels import Place, place_of
from kosmos_eval.mini.pages import training_opinion
from kosmos_eval.mini.pools import Meme, Page, Panels, Photo, Pool
from kosmos_eval.mini.raven import matrix_script
from kosmos_eval.mini.scripts import ANSWER, LANGUAGE, End, Part, Picture, Words
from kosmos_eval.mini.sentences import Corpus

DETAIL = Words(" Introduce this picture in detail:")
SENTIMENT = Words(" Question: what is the sentiment of the opinion? Answer:")
HATE = Words(" Question: does this picture contain real hate speech? Answer:")


@dataclass(frozen=True, slots=True)
class Stock:
    """What skills draw from; `scores` and `meme_scores` say what single words of opinions and of memes tell.

    Without `language` no skill teaches from text alone.
    """

    corpus: Corpus
    scores: dict[str, float]
    meme_scores: dict[str, float]
    pages: Pool[Page]
    scenes: Pool[Scene]
    photos: Pool[Photo]
    memes: Pool[Meme]
    panels: Panels
    language: bool = True


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw: its random stream, the stock, the longest transcript of the moment."""

    rng: random.Random
    stock: Stock
    longest: int


Skill = Callable[[Draw], list[Part]]


def _answer(text: str) -> Words:
    return Words(f" {text}", ANSWER)


def transcribe(draw: Draw) -> list[Part]:
    """A page of the pool read out."""
    page, embeds = draw.stock.pages.draw(draw.rng)
    return read_page(draw.rng, page, embeds, draw.stock.scores, draw.longest)


def read_page(rng: random.Random, page: Page, embeds: Tensor, scores: dict[str, float], longest: int) -> list[Part]:
    """A page read out, or as much of it as is due; half of those with a verdict go on to it instead of ending."""
    known = scores if page.label else None
    if len(page.text) > longest:
        begun = page.text[:longest].rstrip()
        return [Picture(embeds), DETAIL, Words(f" {begun}", 1.0, page.places, known)]
    return [Picture(embeds), DETAIL, Words(f" {page.text}", 1.0, page.places, known), *_end(page, rng)]


def _end(page: Page, rng: random.Random) -> list[Part]:
    if page.label is None or rng.random() < 0.5:
        return [End(2.0)]
    return [SENTIMENT, _answer(page.label), End()]


def judge_page(draw: Draw) -> list[Part]:
    """A page straight to its verdict."""
    page, embeds = draw.stock.pages.draw(draw.rng, lambda p: p.label is not None and len(p.text) <= draw.longest)
    return [Picture(embeds), SENTIMENT, _answer(page.label or ""), End()]


def judge_text(draw: Draw) -> list[Part]:
    """An opinion as text, and its verdict."""
    rng = draw.rng
    kind = rng.random()
    if kind < 0.5 and draw.stock.corpus.phrases:
        found = rng.choice(draw.stock.corpus.phrases)
        text, label = found.text, found.label
    elif kind < 0.7:
        found = rng.choice(draw.stock.corpus.sentences)
        text, label = found.text, found.label
    else:
        opinion = training_opinion(rng)
        text, label = opinion.text, "positive" if opinion.positive else "negative"
    words = Words(f" {text}", LANGUAGE, None, draw.stock.scores)
    opening = [DETAIL] if rng.random() < 0.4 else []
    return [*opening, words, SENTIMENT, _answer(label), End()]


def _told(scene: Scene) -> Words:
    """The account of a scene; each object's words were read where the object stands."""
    text = describe(scene.objects)
    places: list[Place] = []
    for thing in scene.objects:
        phrase = f"{article(f'{thing.size} {thing.name}')} {place_phrase(thing)}"
        places += [place_of(thing)] * (text.index(phrase, len(places)) + len(phrase) - len(places))
    return Words(f" {text}", 1.0, places)


def _asked(rng: random.Random, scene: Scene, count: int) -> list[Part]:
    parts: list[Part] = []
    for question in random_questions(rng, scene, count):
        parts += [Words(f" Question: {question.text} Answer:"), _found(question)]
    return parts


def _found(question: Question) -> Words:
    """The answer, read where the object stands that the question is about."""
    places = [place_of(question.about)] * len(question.answer) if question.about else None
    return Words(f" {question.answer}", ANSWER, places)


def ask_scene(draw: Draw) -> list[Part]:
    """Questions on a scene, now and then after an account of it."""
    scene, embeds = draw.stock.scenes.draw(draw.rng)
    told: list[Part] = [DETAIL, _told(scene)] if draw.rng.random() < 0.4 else []
    return [Picture(embeds), *told, *_asked(draw.rng, scene, draw.rng.choice((1, 2, 4))), End()]


def describe_scene(draw: Draw) -> list[Part]:
    """The account of a scene that serves as a rationale."""
    scene, embeds = draw.stock.scenes.draw(draw.rng)
    return [Picture(embeds), DETAIL, _told(scene), End()]


def caption_scene(draw: Draw) -> list[Part]:
    """A caption, now and then after an account."""
    scene, embeds = draw.stock.scenes.draw(draw.rng)
    told: list[Part] = [DETAIL, _told(scene)] if draw.rng.random() < 0.15 else []
    caption = Words(f" {random_caption(draw.rng, scene)}", 1.0)
    return [Picture(embeds), *told, Words(" An image of"), caption, End()]


def ask_photo(draw: Draw) -> list[Part]:
    """A question on a bad photograph; `unanswerable` where it cannot be read."""
    photo, embeds = draw.stock.photos.draw(draw.rng)
    told: list[Part] = []
    if draw.rng.random() < 0.35:
        told = [DETAIL, Words(f" {photo.rationale}", 1.0)]
        if draw.rng.random() < 0.3:
            return [Picture(embeds), *told, End()]
    return [Picture(embeds), *told, Words(f" Question: {photo.question} Answer:"), _answer(photo.answer), End()]


def _account(meme: Meme, scores: dict[str, float]) -> list[Part]:
    """What is pictured, then the text, letter by letter."""
    before, _, after = meme.rationale.partition(meme.text)
    pictured = Words(f" {before.rstrip()}", 1.0, None, scores)
    return [pictured, Words(f" {meme.text}", 1.0, meme.places, scores), Words(after, 1.0)]


def judge_meme(draw: Draw) -> list[Part]:
    """A meme: straight to the verdict, by way of an account, the account alone, or from an account as text."""
    kind = draw.rng.uniform(0, 1 if draw.stock.language else 0.59)
    if kind >= 0.6:
        return judge_account(draw)
    meme, embeds = draw.stock.memes.draw(draw.rng)
    scores, verdict = draw.stock.meme_scores, _verdict(meme.nice, meme.stance)
    if kind < 0.15:
        return [Picture(embeds), *verdict]
    if kind < 0.4:
        return [Picture(embeds), DETAIL, *_account(meme, scores), *verdict]
    return [Picture(embeds), DETAIL, *_account(meme, scores), End(2.0)]


def _verdict(nice: bool, stance: str) -> list[Part]:
    answer = "yes" if is_mean(nice, stance) else "no"
    return [HATE, Words(f" {answer}", ANSWER, sides={0: int(nice), 1: int(stance == LIKE)}), End()]


def judge_account(draw: Draw) -> list[Part]:
    """An account of a meme that nobody drew, and its verdict: this is taught from text alone."""
    rng = draw.rng
    nice, stance = rng.random() < 0.5, rng.choice((LIKE, UNLIKE))
    text = random_meme_text(rng, stance)
    while belongs_to_eval(text):
        text = random_meme_text(rng, stance)
    told = tell_meme(rng.choice(list(NICE if nice else NASTY)), text)
    return [DETAIL, Words(f" {told}", LANGUAGE, None, draw.stock.meme_scores), *_verdict(nice, stance)]


def judge_matrix(draw: Draw) -> list[Part]:
    """A matrix: as a text, beside a candidate, or the whole task."""
    return matrix_script(draw.rng, draw.stock.panels.embeds, draw.stock.language)


SKILLS: dict[str, Skill] = {
    "transcribe": transcribe, "judge_page": judge_page, "judge_text": judge_text, "ask_scene": ask_scene,
    "describe_scene": describe_scene, "caption_scene": caption_scene, "ask_photo": ask_photo, "judge_meme": judge_meme,
    "judge_matrix": judge_matrix, "judge_account": judge_account,
}  # fmt: skip
LANGUAGE_SKILLS = ("judge_text", "judge_account")
_SHOTS = ("judge_page", "ask_scene", "ask_scene", "caption_scene", "ask_photo", "judge_meme", "transcribe")


def with_shots(draw: Draw) -> list[Part]:
    """Several examples of one task in a row, as a few-shot prompt has them: each counts."""
    skill = SKILLS[draw.rng.choice(_SHOTS)]
    count = draw.rng.choice((2, 2, 3, 3, 5, 5, 9))
    if skill is transcribe:
        count = min(count, 5)
    parts: list[Part] = []
    made = 0
    while made < count:
        example = skill(draw)
        if made == count - 1:
            return [*parts, *example]
        if example[-2:-1] and isinstance(example[0], Picture):
            parts += [part for part in example if not isinstance(part, End)]
            made += 1
    return parts


SKILLS["with_shots"] = with_shots
