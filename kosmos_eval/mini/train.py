"""Trains kosmos-mini: `python -m kosmos_eval.mini.train --config FILE --sentences FILE... --out DIR`.

Run again with the same folder, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from kosmos_eval.kosmos.model import Kosmos
from kosmos_eval.kosmos.weights import load_network
from kosmos_eval.mini.config import Recipe, load_recipe
from kosmos_eval.mini.sentences import Corpus, load_corpus
from kosmos_eval.mini.stage_dense import train_dense
from kosmos_eval.mini.vision_init import init_vision, keep_positions
from kosmos_eval.mini.workbench import Workbench, device_of_choice
from kosmos_eval.mini.workers import join, leave

STAGES = ("patches", "tokens", "decode")


def new_bench(recipe: Recipe, out: Path, start: Path | None = None) -> Workbench:
    """The run's folder and a network at its start: new, or as the checkpoint folder `start` holds it."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    device = device_of_choice()
    if start is not None:
        network = load_network(start, device=str(device)).train().requires_grad_(True)
    else:
        network = Kosmos(recipe.network.build()).to(device)
        init_vision(network.vision)
    worker, workers = join()
    return Workbench(recipe, out, network, device, warm=start is not None, worker=worker, workers=workers)


def run_stage(bench: Workbench, stage: str, corpus: Corpus) -> None:
    """One stage, on top of the one before."""
    place = STAGES.index(stage)
    torch.manual_seed(bench.recipe.seed + place)
    if place and not bench.checkpoint(stage).is_file():
        bench.restore(STAGES[place - 1])  # a warm run may begin with any stage: then there is nothing to restore
    texts = [s.text for s in corpus.sentences]
    if stage == "patches":
        train_dense(bench, stage, bench.recipe.patches, texts)
    elif stage == "tokens":
        if not bench.warm and not bench.checkpoint(stage).is_file():
            from kosmos_eval.mini.resampler_init import init_resampler

            keep_positions(bench.network.vision)
            bench.log(stage, 0, wanted_share=init_resampler(bench, texts))
        train_dense(bench, stage, bench.recipe.tokens, texts)
    else:
        from kosmos_eval.mini.stage_decode import train_decode

        train_decode(bench, bench.recipe.decode, corpus)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains kosmos-mini; a run that was stopped goes on.")
    parser.add_argument("--config", type=Path, default=Path(__file__).parent / "kosmos-mini.yaml")
    parser.add_argument("--sentences", type=Path, nargs="+", required=True, help="stsa files, and GLUE's as .tsv")
    parser.add_argument("--out", type=Path, required=True)
    # Both names: torchrun takes `--start` for an abbreviation of an option of its own.
    parser.add_argument(
        "--from-checkpoint", "--start", dest="start", type=Path,
        help="a checkpoint folder to go on from, instead of a new network",
    )  # fmt: skip
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    bench = new_bench(load_recipe(given.config), given.out, given.start)
    corpus = load_corpus(given.sentences)
    for stage in given.stages:
        run_stage(bench, stage, corpus)
    leave()


if __name__ == "__main__":
    main()
