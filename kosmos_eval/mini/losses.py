"""The decoder's loss: the next token, and helpers that teach it where to look and what words say."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kosmos_eval.kosmos.model import Kosmos
from kosmos_eval.mini.batches import Batch, embed
from kosmos_eval.mini.dense_labels import BINS, STRIP
from kosmos_eval.mini.fast import Decoded, decode
from kosmos_eval.mini.scripts import RANKS

HERE = ((1, 0), (2, 0))
AHEAD = tuple([(2, head) for head in (1, 2, 3)] + [(3, head) for head in range(8)])
"""(layer, head) whose attention is taught where the newest character was read, and where the next one is.

One head carries an eighth of an image token: all heads of a layer must look at it for the layer to see all of it.
"""
STARTS = ((2, 4), (2, 5))
"""Heads taught to look at the token that was the first to be read from the same image token: how far back it is says
how many characters of the strip are done, which with the strip's filled bins says where the next one is."""
CHOICE, GROUPS = 4, 8
"""In this layer head `g` is taught to look at the image token if the next character is in bins `g`, else at `<s>`."""
WEIGH = (3, 7)
"""The head with which a question about an opinion is taught to look at the words that say most."""
BIN_LAYER, SCORE_LAYER, RANK_LAYER, SIDES_LAYER = 3, 2, 2, 3
SIDES = 6
_FLOOR = 0.1


class Helpers(nn.Module):
    """Throw-away heads: the bin of the next character in its strip, the place of the newest among those of its strip,
    the verdict of the word before, and what an answer rests on: the two sides of a meme, of whose agreement it is the
    opposite, and whether each of the four attributes of a matrix's candidate is right."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bin = nn.Linear(width, STRIP * BINS)
        self.rank = nn.Linear(width, RANKS)
        self.score = nn.Linear(width, 1)
        self.sides = nn.Linear(width, SIDES)


def _pointing(decoded: Decoded, heads: Iterable[tuple[int, int]], wanted: Tensor) -> Tensor:
    """Cross-entropy of attention against the wanted key."""
    rows, queries, keys = wanted.unbind(1)
    losses = [F.cross_entropy(decoded.heads[head][rows, queries].float(), keys) for head in heads]
    return torch.stack(losses).mean()


def _choosing(decoded: Decoded, ahead: Tensor, bins: Tensor) -> Tensor:
    """Cross-entropy of the choosing heads: each to the image token if the next character is its own, else to `<s>`."""
    rows, queries, keys = ahead.unbind(1)
    group = bins[:, 2] * GROUPS // (STRIP * BINS)
    losses = []
    for head in range(GROUPS):
        wanted = torch.where(group == head, keys, 0)
        weight = torch.where(group == head, 1.0, 1.0 / GROUPS)
        each = F.cross_entropy(decoded.heads[CHOICE, head][rows, queries].float(), wanted, reduction="none")
        losses.append((each * weight).sum() / weight.sum())
    return torch.stack(losses).mean()


def _weighing(decoded: Decoded, verdicts: Tensor) -> Tensor:
    """Cross-entropy of a question's attention against each word's share of the scores."""
    rows, queries, keys = verdicts[:, :3].long().unbind(1)
    each = decoded.heads[WEIGH][rows, queries].float().log_softmax(-1).gather(1, keys[:, None]).squeeze(1)
    return -(verdicts[:, 3] * each).sum() / verdicts[:, 3].sum()


def decoder_loss(
    network: Kosmos, helpers: Helpers, batch: Batch, pointer_weight: float
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch, and figures: loss and share right of what counts fully, and of the helpers."""
    decoder = network.decoder
    depth = len(decoder.blocks)
    choosing = tuple((CHOICE, head) for head in range(GROUPS))
    wide = decoder.config.attention_heads
    taught = [h for h in dict.fromkeys((*HERE, *AHEAD, *STARTS, *choosing, WEIGH)) if h[0] < depth and h[1] < wide]
    embeds = embed(decoder.embed_tokens.weight, batch)
    tapped = (BIN_LAYER, SCORE_LAYER, RANK_LAYER, SIDES_LAYER)
    bin_layer, score_layer, rank_layer, sides_layer = (min(layer, depth - 1) for layer in tapped)
    decoded = decode(decoder, embeds, batch.index, {bin_layer, score_layer, rank_layer, sides_layer}, taught)
    target, weight = batch.ids[:, 1:], batch.weights[:, 1:]
    counts = weight > 0
    logits = decoder.logits(decoded.hidden[:, :-1][counts]).float()
    wanted, weight = target[counts], weight[counts]
    each = F.cross_entropy(logits, wanted, reduction="none")
    loss = (each * weight).sum() / weight.sum()
    fully = weight >= 1
    figures = {"loss": loss.item(), "right": (logits.argmax(-1) == wanted)[fully].float().mean().item()}
    if len(batch.here):
        here = _pointing(decoded, [h for h in HERE if h in taught], batch.here)
        ahead = _pointing(decoded, [h for h in AHEAD if h in taught], batch.ahead)
        rows, places, bins = batch.bins.unbind(1)
        inside = F.cross_entropy(helpers.bin(decoded.layers[bin_layer][rows, places]).float(), bins)
        rows, places, _, ranks = batch.starts.unbind(1)
        rank = F.cross_entropy(helpers.rank(decoded.layers[rank_layer][rows, places]).float(), ranks)
        loss = loss + pointer_weight * (here + ahead + inside + rank)
        figures |= {"here": here.item(), "ahead": ahead.item(), "bin": inside.item(), "rank": rank.item()}
        if set(STARTS) <= set(taught):
            begun = _pointing(decoded, STARTS, batch.starts[:, :3])
            loss = loss + pointer_weight * begun
            figures["start"] = begun.item()
        if set(choosing) <= set(taught):
            choice = _choosing(decoded, batch.ahead, batch.bins)
            loss = loss + pointer_weight * choice
            figures["choice"] = choice.item()
    if len(batch.scores):
        rows, places = batch.scores[:, 0].long(), batch.scores[:, 1].long()
        said = helpers.score(decoded.layers[score_layer][rows, places]).float().squeeze(-1)
        wanted = batch.scores[:, 2]
        strength = wanted.abs() + _FLOOR
        score = (strength * (said - wanted) ** 2).sum() / (strength * wanted**2).sum().clamp(min=1e-3)
        loss = loss + score
        figures["score"] = score.item()
    if len(batch.verdicts) and WEIGH in taught:
        weigh = _weighing(decoded, batch.verdicts)
        loss = loss + 0.3 * weigh
        figures["weigh"] = weigh.item()
    if len(batch.sides):
        rows, places, which, bits = batch.sides.unbind(1)
        said = helpers.sides(decoded.layers[sides_layer][rows, places]).float().gather(1, which[:, None]).squeeze(1)
        sides = F.binary_cross_entropy_with_logits(said, bits.float())
        loss = loss + sides
        figures["sides"] = sides.item()
    return loss, figures
