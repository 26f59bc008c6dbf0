"""Fruit: is the fruit in the picture ripe? Pictures in folders named by the answer."""

from collections.abc import Iterator
from pathlib import Path

from kosmos_eval import Accuracy, DataError, MajorityBaseline, Sample, Task, image_ref

SPLITS = ("train", "test")


class Fruit(Task):
    """A sample's id is its path within the split: `ripe/003.png`. The file's name says what fruit it is."""

    name = "fruit"
    answers = (" ripe", " green")
    splits = {"eval": "test", "demos": "train"}
    metrics = (Accuracy(), MajorityBaseline())
    layout = "{train,test}/{ripe,green}/{fruit}-{number}.png"

    def available_splits(self) -> list[str]:
        return [split for split in SPLITS if (self.data / split).is_dir()]

    def read(self, data: Path, split: str) -> Iterator[Sample]:
        for answer in self.answers:
            label = answer.strip()
            for path in sorted((data / split / label).glob("*.png")):
                fruit, dash, _ = path.stem.partition("-")
                if not dash:
                    raise DataError(f"{path}: expected {self.layout}")
                fields = {"fruit": fruit, "rationale": f"a {fruit} on a white table"}
                image = image_ref(data, path.relative_to(data).as_posix())
                yield Sample(f"{label}/{path.name}", (image,), fields, answer, answer, label=label)
