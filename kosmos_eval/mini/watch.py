"""Measures the newest checkpoint: `python -m kosmos_eval.mini.watch --sentences FILE... --out DIR --count 200`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from kosmos_eval.mini.config import load_recipe
from kosmos_eval.mini.monitor import watch_all
from kosmos_eval.mini.sentences import load_corpus
from kosmos_eval.mini.train import new_bench


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the newest checkpoint of the decoder's stage.")
    parser.add_argument("--config", type=Path, default=Path(__file__).parent / "kosmos-mini.yaml")
    parser.add_argument("--sentences", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=872)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    bench = new_bench(load_recipe(given.config), given.out)
    step, _ = bench.restore("decode")
    figures = watch_all(bench.network.eval(), load_corpus(given.sentences).monitor, given.count)
    row = {"step": step, **{task: {k: round(v, 4) for k, v in found.items()} for task, found in figures.items()}}
    with (given.out / "monitor.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
