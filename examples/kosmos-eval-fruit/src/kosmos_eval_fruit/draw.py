"""Draws data for the task: `python -m kosmos_eval_fruit.draw FOLDER`."""

import sys
from pathlib import Path

from PIL import Image, ImageDraw

RIPE = {"apple": "firebrick", "banana": "gold", "plum": "indigo"}


def draw(folder: Path, train: int = 6, test: int = 6) -> None:
    """Writes so many pictures of each answer and split."""
    for split, count in (("train", train), ("test", test)):
        for label in ("ripe", "green"):
            (folder / split / label).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                fruit = list(RIPE)[i % len(RIPE)]
                picture = Image.new("RGB", (96, 96), "white")
                colour = RIPE[fruit] if label == "ripe" else "yellowgreen"
                ImageDraw.Draw(picture).ellipse((16 + i, 24, 72 + i, 80), fill=colour)
                picture.save(folder / split / label / f"{fruit}-{i}.png")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
