"""The decoder's stage: pictures are encoded into pools, and skills are drawn by their weights. Vision is frozen, or
learns slowly along (`vision_lr`)."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor, nn

from kosmos_eval.errors import DataError, nearest
from kosmos_eval.mini.batches import Batch, collate, draw_rows, draw_shifts
from kosmos_eval.mini.config import DecodeStage
from kosmos_eval.mini.decoder_init import free_mask, init_decoder
from kosmos_eval.mini.losses import Helpers, decoder_loss
from kosmos_eval.mini.pools import Panels, Pool, encode, make_meme, make_photo, make_scene, page_maker
from kosmos_eval.mini.sentences import Corpus
from kosmos_eval.mini.sharpening import Sharpening
from kosmos_eval.mini.skills import LANGUAGE_SKILLS, SKILLS, Stock
from kosmos_eval.mini.word_scores import meme_scores, word_scores
from kosmos_eval.mini.workbench import Workbench, set_rate, step_rng
from kosmos_eval.mini.workers import average_gradients

NAME, SEE = "decode", "see"
_SKILLS_A_STEP = 2
_SURE, _GROWTH, _LONGEST, _MEMORY = 0.72, 1.04, 330, 0.8
CLIP_NORM, _RESCALED_ON = 1.0, 32


def build_stock(bench: Workbench, stage: DecodeStage, corpus: Corpus, renewals: int) -> Stock:
    """Pools of encoded pictures as they are after so many renewals."""
    size, small = stage.pool, max(1, stage.pool // 4)
    stock = Stock(
        corpus=corpus,
        scores=word_scores(corpus.phrases or corpus.sentences) if stage.language else {},
        meme_scores=meme_scores() if stage.language else {},
        language=stage.language,
        pages=Pool(bench, "pages", size, page_maker(corpus, bench.recipe.official_look)),
        scenes=Pool(bench, "scenes", 2 * small, make_scene),
        photos=Pool(bench, "photos", small, make_photo),
        memes=Pool(bench, "memes", small, make_meme),
        panels=Panels(bench),
    )
    stock.pages.fill(renewals * stage.refresh)
    for pool in (stock.scenes, stock.photos, stock.memes):
        pool.fill(renewals * stage.refresh_others)
    return stock


def renew(stock: Stock, stage: DecodeStage) -> None:
    """Fresh pictures for the oldest."""
    stock.pages.renew(stage.refresh)
    for pool in (stock.scenes, stock.photos, stock.memes):
        pool.renew(stage.refresh_others)
    if stage.refresh_panels:
        stock.panels.renew(stage.refresh_panels)


def skill_weights(stage: DecodeStage, step: int) -> dict[str, float]:
    """Each skill's weight at a step: that of the last entry that has begun."""
    found = {}
    for skill, entries in stage.skills.items():
        weight = [w for begun, w in entries if begun <= step]
        if weight and weight[-1] > 0:
            found[skill] = weight[-1]
    return found


def check_skills(stage: DecodeStage) -> None:
    """Raises DataError for a skill that there is not, or that this stage cannot teach."""
    for skill in stage.skills:
        if skill == SEE and stage.vision_lr == 0:
            raise DataError(f"skill {SEE!r} teaches vision alone: it wants a `vision_lr` above 0")
        if not stage.language and skill in LANGUAGE_SKILLS:
            raise DataError(f"skill {skill!r} is taught from text alone: not without `language`")
        if skill not in (*SKILLS, SEE):
            raise DataError(f"no skill {skill!r}{nearest(skill, (*SKILLS, SEE))}")


def rescale_images(bench: Workbench, corpus: Corpus) -> None:
    """Image tokens times sqrt(width) get unit rms, which is what word embeddings have: else they drown the words.

    The dimensions reserved for positions, which the dense stages did not read either, are silenced for good.
    """
    network, make = bench.network, page_maker(corpus, bench.recipe.official_look)
    text = network.config.text
    with torch.no_grad():
        mask = free_mask(text.embed_dim, text.attention_heads).to(bench.device)
        network.resampler.out_proj.weight.mul_(mask[:, None])
        network.resampler.out_proj.bias.mul_(mask)
        embeds = encode(bench, [make(random.Random(place))[1] for place in range(_RESCALED_ON)])
        rms = embeds.float().pow(2).mean().sqrt() * network.decoder.embed_scale
        network.resampler.out_proj.weight.div_(rms)
        network.resampler.out_proj.bias.div_(rms)


def _longer(longest: float, memory: float, figures: dict[str, float]) -> tuple[float, float]:
    """The length curriculum: longer texts whenever the shorter ones are read with few mistakes."""
    memory = _MEMORY * memory + (1 - _MEMORY) * figures["right"]
    return (min(_LONGEST, longest * _GROWTH), memory) if memory > _SURE else (longest, memory)


def train_decode(bench: Workbench, stage: DecodeStage, corpus: Corpus) -> None:
    """Runs the stage to its end, from where it stopped. Each step takes two skills, half of the budget each."""
    check_skills(stage)
    network = bench.network
    for part in (network.vision, network.resampler):
        part.requires_grad_(stage.vision_lr > 0)
    torch.manual_seed(bench.recipe.seed)
    pupils = Pupils(bench, stage, corpus)
    fresh = not bench.checkpoint(NAME).is_file()
    if fresh and (stage.new_decoder or not bench.warm):
        init_decoder(network.decoder)
    optimiser = pupils.optimiser()
    first, kept = bench.restore(NAME, pupils.heads, optimiser)
    longest, memory = kept.get("longest", float(stage.first_length)), kept.get("memory", 0.0)
    if fresh:
        rescale_images(bench, corpus)
    if pupils.sharpening is not None and first == 0:
        bench.log(NAME, 0, readers=pupils.sharpening.warm_up(lambda step: step_rng(bench.recipe.seed, "readers", step)))
    stock = build_stock(bench, stage, corpus, first // stage.refresh_every)
    for step in range(first, stage.schedule.steps):
        if step > first and step % stage.refresh_every == 0:
            renew(stock, stage)
        set_rate(optimiser, stage.schedule.at(step))
        figures = _step(bench, stage, stock, pupils, optimiser, step, round(longest))
        if "transcribe" in figures:
            longest, memory = _longer(longest, memory, figures["transcribe"])
        if step % bench.recipe.log_every == 0:
            rounded = {skill: {k: round(v, 4) for k, v in found.items()} for skill, found in figures.items()}
            bench.log(NAME, step, longest=longest, **rounded)
        if bench.due():
            bench.save(NAME, step + 1, pupils.heads, optimiser, longest=longest, memory=memory)
    bench.save(NAME, stage.schedule.steps, pupils.heads, optimiser, longest=longest, memory=memory)


class Pupils:
    """What learns in this stage: the decoder and its helpers, and with `vision_lr` vision and the readers of labels."""

    def __init__(self, bench: Workbench, stage: DecodeStage, corpus: Corpus) -> None:
        self.workers = bench.workers
        self.helpers = Helpers(bench.network.config.text.embed_dim).to(bench.device)
        self.decoder = [*bench.network.decoder.parameters(), *self.helpers.parameters()]
        self.heads: nn.Module = self.helpers
        self.sharpening: Sharpening | None = None
        self.groups: list[dict[str, Any]] = [{"params": self.decoder}]
        if stage.vision_lr > 0:
            self.sharpening = Sharpening(bench, stage, corpus)
            self.heads = nn.ModuleList([self.helpers, self.sharpening.heads])
            self.groups.append({"params": self.sharpening.vision(), "scale": stage.vision_lr})
            self.groups.append({"params": list(self.sharpening.heads.parameters())})

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.groups, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.02, fused=True)

    def align(self) -> None:
        """The workers' gradients become one, and none too large."""
        average_gradients([p for group in self.groups for p in group["params"]], self.workers)
        for group in self.groups:
            nn.utils.clip_grad_norm_(group["params"], CLIP_NORM)


def _step(
    bench: Workbench, stage: DecodeStage, stock: Stock, pupils: Pupils, optimiser: torch.optim.Optimizer, step: int,
    longest: int,
) -> dict[str, dict[str, float]]:  # fmt: skip
    rng = bench.stream(NAME, step)
    optimiser.zero_grad(set_to_none=True)
    found = {}
    budget = stage.token_budget // _SKILLS_A_STEP
    weights = skill_weights(stage, step)
    together = step_rng(bench.recipe.seed, "skills", step)  # workers that do the same wait less for each other
    for skill in together.choices(list(weights), list(weights.values()), k=_SKILLS_A_STEP):
        if pupils.sharpening is not None and skill == SEE:
            loss, figures = pupils.sharpening.see(rng)
        elif pupils.sharpening is not None and skill == "transcribe":
            reading = pupils.sharpening.draw(rng, stock.scores, longest, budget)
            loss, figures = _decoded(bench, stage, pupils, reading.batch)
            loss, figures = loss + reading.labels, figures | reading.right
        else:
            rows = draw_rows(rng, stock, skill, longest, budget)
            batch = collate(rows, bench.network.config.text.embed_dim, bench.device, draw_shifts(rng, rows))
            loss, figures = _decoded(bench, stage, pupils, batch)
        loss.backward()
        found[skill] = figures
    pupils.align()
    optimiser.step()
    return found


def _decoded(bench: Workbench, stage: DecodeStage, pupils: Pupils, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    with bench.mixed_precision():
        return decoder_loss(bench.network, pupils.helpers, batch, stage.pointer_weight)
