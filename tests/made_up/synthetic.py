"""A made-up benchmark of any size: questions with ten answers each, as VQAv2 has them, made when they are read."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from kosmos_eval import ConstantBaseline, Image, Sample, Task, VqaAccuracy

COLOURS = ("red", "blue", "green", "two", "yes", "no")


class Synthetic(Task):
    name = "synthetic"
    splits = {"eval": "test", "demos": "train"}  # noqa: RUF012
    metrics = (VqaAccuracy(), VqaAccuracy.normalised(), ConstantBaseline())
    layout = "count.txt: how many samples"

    def read(self, data: Path, split: str) -> Iterable[Sample]:
        count = int((data / "count.txt").read_text()) if split == "test" else 64
        for i in range(count):
            rng = random.Random(f"{split}{i}")
            answers = rng.choices(COLOURS, k=10)
            question = f"What is to be seen in picture {i}, if anything at all?"
            name = f"{split}/{i // 3:012d}.jpg"
            yield Sample(
                id=f"{split}-{i}",
                images=(Image(name, path=data / name),),
                fields={"question": question, "question_id": str(i), "first_answer": answers[0]},
                target=answers,
                answer=f" {answers[0]}",
                group=rng.choice(("number", "yes/no", "other")),
            )
