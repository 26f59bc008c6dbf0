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

HERE = ((1, 0), (2, 0))
AHEAD = ((2, 1), (3, 0))
"""(layer, head) whose attention is taught where the newest character was read, and where the next one is."""
BIN_LAYER, SCORE_LAYER = 2, 2


class Helpers(nn.Module):
    """Throw-away heads: the bin of the next character in its strip, and the verdict of the word before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bin = nn.Linear(width, STRIP * BINS)
        self.score = nn.Linear(width, 1)


def _pointing(decoded: Decoded, heads: Iterable[tuple[int, int]], wanted: Tensor) -> Tensor:
    """Cross-entropy of attention against the wanted key."""
    rows, queries, keys = wanted.unbind(1)
    losses = [F.cross_entropy(decoded.heads[head][rows, queries].float(), keys) for head in heads]
    return torch.stack(losses).mean()


def decoder_loss(
    network: Kosmos, helpers: Helpers, batch: Batch, pointer_weight: float
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch, and figures: loss and share right of what counts fully, and of the helpers."""
    decoder = network.decoder
    depth = len(decoder.blocks)
    taught = [head for head in (*HERE, *AHEAD) if head[0] < depth]
    embeds = embed(decoder.embed_tokens.weight, batch)
    decoded = decode(decoder, embeds, batch.index, {BIN_LAYER, SCORE_LAYER}, taught)
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
        inside = F.cross_entropy(helpers.bin(decoded.layers[BIN_LAYER][rows, places]).float(), bins)
        loss = loss + pointer_weight * (here + ahead + inside)
        figures |= {"here": here.item(), "ahead": ahead.item(), "bin": inside.item()}
    if len(batch.scores):
        rows, places = batch.scores[:, 0].long(), batch.scores[:, 1].long()
        said = helpers.score(decoded.layers[SCORE_LAYER][rows, places]).float().squeeze(-1)
        score = F.mse_loss(said, batch.scores[:, 2])
        loss = loss + 2.0 * score
        figures["score"] = score.item()
    return loss, figures
