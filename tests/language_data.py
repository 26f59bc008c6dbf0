"""Real language items as lm-eval tasks of the layouts they come in, and Hugging Face's text model as the reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from shared_data import shared

REAL = ("copa", "piqa", "winograd_wsc", "winogrande", "boolq")


def write_tasks(folder: Path, names: Sequence[str] = REAL, sampler: str = "first_n") -> list[str]:
    """One lm-eval YAML a data set, pointing to the shared file; the tasks' names."""
    for name in names:
        file = shared("language") / f"{name}.jsonl"
        first = json.loads(file.open(encoding="utf-8").readline())
        plain = {"doc_to_text": "query", "doc_to_target": "gold", "doc_to_choice": "choices"}
        options = {"doc_to_text": "gold", "doc_to_target": "continuation", "doc_to_choice": "context_options"}
        task = {
            "task": f"local_{name}",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(file)}, "cache_dir": str(folder / "cache")},
            "output_type": "multiple_choice",
            "test_split": "test",
            "fewshot_split": "test",
            "fewshot_config": {"sampler": sampler},
            **(plain if "choices" in first else options),
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        }
        (folder / f"local_{name}.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    return [f"local_{name}" for name in names]


class TextReference:
    """Hugging Face's text model and tokenizer: one sequence at a time, nothing shared, nothing cached."""

    def __init__(self, folder: Path, hf: Any | None = None) -> None:
        from transformers import AutoTokenizer, Kosmos2ForConditionalGeneration

        self.hf = (hf or Kosmos2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def ids(self, text: str) -> list[int]:
        return [0, *self.tokenizer(text, add_special_tokens=False).input_ids]

    @torch.no_grad()
    def logprobs(self, ids: Sequence[int]) -> torch.Tensor:
        return self.hf.text_model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)

    def score(self, context: str, continuation: str, most: int = 10**9) -> tuple[float, bool]:
        """What lm-eval's own Hugging Face model computes for a pair, cut to `most` positions on its left."""
        whole = self.ids(context + continuation)
        n = len(whole) - len(self.ids(context.rstrip()))
        whole = whole[-most:]
        rows, targets = self.logprobs(whole)[-n - 1 : -1], whole[-n:]
        total = sum(rows[i, t].item() for i, t in enumerate(targets))
        return total, rows.argmax(-1).tolist() == targets
