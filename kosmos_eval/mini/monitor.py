"""Watches a run: transcripts, verdicts and answers on examples that were never trained on. Aggregate figures only."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from kosmos_eval.data.mini import flickr30k, hateful_memes, raven_iq, rendered_sst2, vizwiz, vqav2
from kosmos_eval.data.render_text import render_text
from kosmos_eval.kosmos.decoder import CausalAttention
from kosmos_eval.kosmos.model import Kosmos
from kosmos_eval.mini.batches import collate, embed
from kosmos_eval.mini.pictures import Pixels, normalise, shrink
from kosmos_eval.mini.raven import FOLLOWING, INTRODUCE, IS_IT
from kosmos_eval.mini.scripts import Part, Picture, TrainingRow, Words, build_row
from kosmos_eval.mini.sentences import Labelled
from kosmos_eval.mini.skills import DETAIL, HATE, SENTIMENT
from kosmos_eval.mini.tokenizer import EOS, build_tokenizer

_TOKENIZER = build_tokenizer()
_CHUNK = 16


@dataclass(slots=True)
class _Grown:
    """Attention over all keys so far, kept between steps."""

    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        first = layer not in self.keys
        if not first:
            k, v = torch.cat([self.keys[layer], k], 1), torch.cat([self.values[layer], v], 1)
        self.keys[layer], self.values[layer] = k, v
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=first and q.shape[2] > 1).transpose(1, 2)


@torch.no_grad()
def encode_images(network: Kosmos, pictures: Sequence[Pixels]) -> list[Tensor]:
    """Image tokens, in full precision."""
    found: list[Tensor] = []
    for start in range(0, len(pictures), _CHUNK):
        found += network.encode_images(normalise(pictures[start : start + _CHUNK]).to(network.device))
    return found


@torch.no_grad()
def generate(network: Kosmos, rows: Sequence[TrainingRow], most: int) -> list[list[int]]:
    """Greedy continuations, without `</s>`; contexts are grouped by length, so that none is padded."""
    out: list[list[int]] = [[] for _ in rows]
    for length in sorted({len(row.ids) for row in rows}):
        same = [n for n, row in enumerate(rows) if len(row.ids) == length]
        for start in range(0, len(same), _CHUNK):
            part = same[start : start + _CHUNK]
            for number, ids in zip(part, _continue(network, [rows[n] for n in part], most), strict=True):
                out[number] = ids
    return out


def _continue(network: Kosmos, rows: Sequence[TrainingRow], most: int) -> list[list[int]]:
    decoder, attention = network.decoder, _Grown()
    batch = collate(rows, network.config.text.embed_dim, network.device, [0] * len(rows))
    embeds, index = embed(decoder.embed_tokens.weight, batch), batch.index
    written: list[list[int]] = [[] for _ in rows]
    done = torch.zeros(len(rows), dtype=torch.bool)
    for _ in range(most):
        chosen = decoder.logits(decoder(embeds, index, attention)[:, -1]).argmax(-1)
        done |= chosen.cpu() == EOS
        if bool(done.all()):
            break
        for number, token in enumerate(chosen.tolist()):
            if not done[number]:
                written[number].append(token)
        embeds, index = decoder.embed_tokens(chosen)[:, None], index[:, -1:] + 1
    return written


def _context(ids: list[int], row: TrainingRow) -> TrainingRow:
    """These ids with the row's pictures."""
    return TrainingRow(ids, [0.0] * len(ids), row.pictures)


def extended(row: TrainingRow, ids: Sequence[int], *then: Part) -> TrainingRow:
    """A context that goes on with generated ids and a prompt, as the second stage of a chain does."""
    tail, before = build_row(then), len(row.ids) + len(ids) - 1
    whole = [*row.ids, *ids, *tail.ids[1:]]
    pictures = [*row.pictures, *((before + start, embeds) for start, embeds in tail.pictures)]
    return TrainingRow(whole, [0.0] * len(whole), pictures)


@torch.no_grad()
def margins(network: Kosmos, rows: Sequence[TrainingRow], answers: tuple[str, str]) -> list[float]:
    """log p(first answer) - log p(second) after each context, at the token where they part."""
    one, two = (_TOKENIZER.encode(f" {a}", add_special_tokens=False).ids for a in answers)
    shared = 0
    while one[shared] == two[shared]:
        shared += 1
    found: list[float] = []
    for start in range(0, len(rows), _CHUNK):
        chunk = [_context([*r.ids, *one[:shared]], r) for r in rows[start : start + _CHUNK]]
        batch = collate(chunk, network.config.text.embed_dim, network.device, [0] * len(chunk))
        hidden = network.decoder(embed(network.decoder.embed_tokens.weight, batch), batch.index, CausalAttention())
        last = hidden[torch.arange(len(chunk)), torch.tensor([len(r.ids) - 1 for r in chunk])]
        logits = network.decoder.logits(last)
        found += (logits[:, one[shared]] - logits[:, two[shared]]).tolist()
    return found


def spell(ids: Sequence[int]) -> str:
    """Generated ids as text."""
    return _TOKENIZER.decode(list(ids)).strip()


def edit_distance(a: str, b: str) -> int:
    """Levenshtein's."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def roc_auc(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """The chance that a positive scores above a negative."""
    high = [s for s, p in zip(scores, positive, strict=True) if p]
    low = [s for s, p in zip(scores, positive, strict=True) if not p]
    wins = sum((h > w) + 0.5 * (h == w) for h in high for w in low)
    return wins / max(1, len(high) * len(low))


def _agreement(scores: Sequence[float], positive: Sequence[bool]) -> float:
    return sum((s > 0) == p for s, p in zip(scores, positive, strict=True)) / max(1, len(scores))


def watch_opinions(network: Kosmos, opinions: Sequence[Labelled], pictures: Sequence[Pixels]) -> dict[str, float]:
    """Rendered opinions: error rate of transcripts; verdicts from the picture, via a transcript, from the text."""
    good = [o.label == "positive" for o in opinions]
    seen = [Picture(e) for e in encode_images(network, pictures)]
    asked = [build_row([picture, DETAIL]) for picture in seen]
    read = generate(network, asked, 330)
    texts = [" ".join(o.text.split()) for o in opinions]
    wrong = [edit_distance(spell(ids), text) for ids, text in zip(read, texts, strict=True)]
    short = [(w, len(t)) for w, t in zip(wrong, texts, strict=True) if len(t) < 60]
    answers = ("positive", "negative")
    direct = margins(network, [build_row([picture, SENTIMENT]) for picture in seen], answers)
    chain = margins(network, [extended(r, ids, SENTIMENT) for r, ids in zip(asked, read, strict=True)], answers)
    text = margins(network, [build_row([Words(f" {t}"), SENTIMENT]) for t in texts], answers)
    return {
        "n": len(opinions),
        "cer": sum(wrong) / sum(map(len, texts)),
        "cer_short": sum(w for w, _ in short) / max(1, sum(n for _, n in short)),
        "ended": sum(len(ids) < 330 for ids in read) / len(read),
        "text": _agreement(text, good),
        "chain": _agreement(chain, good),
        "direct": _agreement(direct, good),
        "direct_auc": roc_auc(direct, good),
    }


UNSEEN = 500_000_000
"""Train indices from here on are only watched: training never draws them."""


def _answers(network: Kosmos, pictures: Sequence[Pixels], told: bool, then: Sequence[str]) -> list[str]:
    seen = [Picture(e) for e in encode_images(network, pictures)]
    if told:
        asked = [build_row([picture, DETAIL]) for picture in seen]
        read = generate(network, asked, 320)
        rows = [extended(r, ids, Words(t)) for r, ids, t in zip(asked, read, then, strict=True)]
    else:
        rows = [build_row([picture, Words(t)]) for picture, t in zip(seen, then, strict=True)]
    return [spell(ids) for ids in generate(network, rows, 128)]


def watch_questions(network: Kosmos, count: int) -> dict[str, float]:
    """Scenes and bad photographs: answers that are exactly the intended one; captions that are one of the five."""
    found: dict[str, float] = {"n": count}
    scenes = [vqav2.sample("train", UNSEEN + n) for n in range(count)]
    photos = [vizwiz.sample("train", UNSEEN + n) for n in range(count)]
    captioned = [flickr30k.sample("train", UNSEEN + n) for n in range(count)]
    for told in (False, True):
        way = "mcot" if told else "standard"
        for name, items in (("vqa", scenes), ("vizwiz", photos)):
            then = [f" Question: {item.question} Answer:" for item in items]
            said = _answers(network, [shrink(item.image) for item in items], told, then)
            right = [a == item.answer for a, item in zip(said, items, strict=True)]  # type: ignore[attr-defined]
            found[f"{name}_{way}"] = sum(right) / count
    written = _answers(network, [shrink(item.image) for item in captioned], False, [" An image of"] * count)
    found["caption_exact"] = sum(w in item.captions for w, item in zip(written, captioned, strict=True)) / count
    read = generate(
        network,
        [build_row([Picture(e), DETAIL]) for e in encode_images(network, [shrink(i.image) for i in scenes])],
        320,
    )
    found["rationale_exact"] = sum(spell(ids) == i.rationale for ids, i in zip(read, scenes, strict=True)) / count
    return found


def watch_memes(network: Kosmos, count: int) -> dict[str, float]:
    """ROC AUC from the picture, by way of an account, and from the true account as text."""
    items = [hateful_memes.sample("train", UNSEEN + n) for n in range(count)]
    mean = [bool(item.label) for item in items]
    seen = [Picture(e) for e in encode_images(network, [shrink(item.image) for item in items])]
    asked = [build_row([picture, DETAIL]) for picture in seen]
    read = generate(network, asked, 200)
    answers = ("yes", "no")
    chain = [extended(r, ids, HATE) for r, ids in zip(asked, read, strict=True)]
    return {
        "n": count,
        "account_exact": sum(spell(ids) == i.rationale for ids, i in zip(read, items, strict=True)) / count,
        "direct_auc": roc_auc(margins(network, [build_row([picture, HATE]) for picture in seen], answers), mean),
        "chain_auc": roc_auc(margins(network, chain, answers), mean),
        "text_auc": roc_auc(
            margins(network, [build_row([DETAIL, Words(f" {i.rationale}"), HATE]) for i in items], answers), mean
        ),
    }


def watch_matrices(network: Kosmos, count: int) -> dict[str, float]:
    """The candidate whose Yes is likeliest, without and after an account (chance is one in six); the missing named."""
    right, chain, named = 0, 0, 0
    for number in range(count):
        item = raven_iq.sample("train", UNSEEN + number)
        panels = encode_images(network, [shrink(p) for p in (*item.panels, *item.candidates)])
        opening = Words(f" Here are {'three' if item.side == 2 else 'eight'} images:")
        shown = [Picture(e) for e in panels[: len(item.panels)]]
        weighed = [(FOLLOWING, Picture(e), IS_IT) for e in panels[len(item.panels) :]]
        scores = margins(network, [build_row([opening, *shown, *asked]) for asked in weighed], ("Yes", "No"))
        right += scores.index(max(scores)) == item.target
        context = build_row([opening, *shown, INTRODUCE])
        (ids,) = generate(network, [context], 320)
        named += spell(ids).partition("missing: ")[2] == item.rationale.partition("missing: ")[2]
        scores = margins(network, [extended(context, ids, *asked) for asked in weighed], ("Yes", "No"))
        chain += scores.index(max(scores)) == item.target
    return {"n": count, "accuracy": right / count, "chain": chain / count, "named": named / count}


def official_look(opinions: Sequence[Labelled]) -> list[Pixels]:
    """Sentences as `data render-sst2` renders them."""
    return [shrink(render_text(o.text).image.convert("L")) for o in opinions]


def watch_all(network: Kosmos, opinions: Sequence[Labelled], count: int) -> dict[str, dict[str, float]]:
    """Every figure, each task on `count` examples."""
    chosen = random.Random(0).sample(list(opinions), min(count, len(opinions)))
    mini = [rendered_sst2.sample("train", UNSEEN + n) for n in range(count)]
    return {
        "sentences": watch_opinions(network, chosen, official_look(chosen)),
        "mini_sst2": watch_opinions(
            network, [Labelled(i.rationale, i.label) for i in mini], [shrink(i.image.convert("L")) for i in mini]
        ),
        "questions": watch_questions(network, count),
        "memes": watch_memes(network, count),
        "matrices": watch_matrices(network, count // 2),
    }
