"""Writes the checkpoint folder: `python -m kosmos_eval.mini.export --out DIR [--to FOLDER]`.

The folder is in Hugging Face's Kosmos-2 format. Its model card is written by hand and left as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from kosmos_eval.disk import write_json
from kosmos_eval.kosmos.images import BICUBIC, CLIP_MEAN, CLIP_STD
from kosmos_eval.kosmos.model import Kosmos
from kosmos_eval.kosmos.weights import WEIGHTS, save_network
from kosmos_eval.mini.config import load_recipe
from kosmos_eval.mini.curves import plot_curves
from kosmos_eval.mini.tokenizer import BOS, EOS, PAD, save_tokenizer
from kosmos_eval.mini.train import STAGES, new_bench

CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "kosmos-mini"
PREPROCESSOR = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": list(CLIP_MEAN),
    "image_processor_type": "CLIPImageProcessor",
    "image_std": list(CLIP_STD),
    "processor_class": "Kosmos2Processor",
    "resample": BICUBIC,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 224},
    "use_square_size": True,
}
GENERATION = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD, "no_repeat_ngram_size": 0}


def write_checkpoint(network: Kosmos, folder: Path) -> None:
    """Weights in half precision, and everything Hugging Face's loaders look for beside them."""
    save_network(network, folder, torch.float16)
    (folder / WEIGHTS).chmod(0o644)
    save_tokenizer(folder)
    for name, content in (("preprocessor_config.json", PREPROCESSOR), ("generation_config.json", GENERATION)):
        write_json(folder / name, content)


def newest(out: Path) -> str:
    """The last stage that has a checkpoint."""
    return next(stage for stage in reversed(STAGES) if (out / f"{stage}.pt").is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes a run's newest checkpoint in Hugging Face's Kosmos-2 format.")
    parser.add_argument("--config", type=Path, default=Path(__file__).parent / "kosmos-mini.yaml")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    parser.add_argument("--to", type=Path, default=CHECKPOINT)
    given = parser.parse_args()
    bench = new_bench(load_recipe(given.config), given.out)
    stage = newest(given.out)
    step, _ = bench.restore(stage)
    write_checkpoint(bench.network, given.to)
    plot_curves(given.out, given.to)
    size = sum(file.stat().st_size for file in given.to.iterdir()) / 1e6
    print(f"{given.to}: {stage} at step {step}, {size:.1f} MB")


if __name__ == "__main__":
    main()
