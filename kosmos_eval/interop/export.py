"""Writes our tasks as a folder of lm-eval's: a YAML file a task and form, which names functions of `lm_eval_tasks`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import yaml

from kosmos_eval.disk import replace_file, storing
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.interop import lm_eval_tasks
from kosmos_eval.interop.lm_eval_tasks import Source, figures, generation, is_mean
from kosmos_eval.request import Generate

TAG, GENERATED_TAG = "kosmos_eval", "kosmos_eval_generate"
"""What `--tasks` may say for all exported tasks: as they are asked here, and for models that only write."""
CHOICE_TOKENS = 16
"""Tokens that a model may write where it is to write one of the task's answers."""
HEAD = """# A task of kosmos-eval for lm-eval 0.4.13, zero-shot, written by `kosmos-eval export lm-eval`. To run it:
#   kosmos-eval lm-eval run --include_path THIS_FOLDER --tasks TASK --model kosmos --model_args pretrained=kosmos-mini
"""
_NEITHER = ("unanswerable_predicted", "unmatched", "majority", "chance", "vqa_constant", "constant_unanswerable")
"""Figures of which more is not better."""


class Function(str):
    """The name of a function, which lm-eval looks up."""

    __slots__ = ()

    @classmethod
    def named(cls, name: str) -> Function:
        """A function of `lm_eval_tasks`."""
        return cls(f"{lm_eval_tasks.__name__}.{getattr(lm_eval_tasks, name).__name__}")


class _Dumper(yaml.SafeDumper):
    """Writes functions as lm-eval reads them, and every list in full."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(Function, lambda dumper, name: dumper.represent_scalar("!function", str(name), style=None))


class Documents(TypedDict):
    """What all exported tasks share of the arguments of `lm_eval_tasks.documents`."""

    prompt: str
    data: str
    split: str | None
    limit: int | None
    seed: int
    tasks_dir: str | None
    prompts: str | None


@dataclass(slots=True)
class Exported:
    """The files written, by the name of their task, and why others were not: by task."""

    files: dict[str, Path] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def export_lm_eval(folder: Path, tasks: Iterable[str], asked: Documents) -> Exported:
    """Writes what lm-eval can ask, zero-shot; a task that it cannot, or whose data are not whole, is refused."""
    done = Exported()
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        try:
            source = lm_eval_tasks.source(lm_eval_tasks.as_json(task, **asked))
        except KosmosEvalError as error:
            done.refused[task] = str(error)
            continue
        for config in _configs(source, {"task": task, **asked}):
            path = folder / f"{config['task']}.yaml"
            replace_file(path, HEAD + yaml.dump(config, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
            done.files[config["task"]] = path
    return done


def _configs(source: Source, arguments: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The task as it is asked here and, where it weighs choices, with its answers to be written."""
    act = next(iter(source.requests.values())).stages[0].act
    label = source.task.data_label
    prompt = arguments["prompt"]
    parts = ("kosmos", *([label] if label != "local" else []), arguments["task"],
             *([prompt] if prompt != "standard" else []))  # fmt: skip
    name = "_".join(parts).replace("-", "_")
    common = {
        "custom_dataset": Function.named("documents"),
        "dataset_kwargs": {key: value for key, value in arguments.items() if value is not None},
        "test_split": "test",
        "num_fewshot": 0,
        "doc_to_text": "text",
        "doc_to_target": "target",
        "doc_to_image": Function.named("pictures"),
        "target_delimiter": "",
    }
    version = {"metadata": {"version": 1.0}}
    figures_of_all = [(n, is_mean(m)) for m in source.task.metrics for n in figures(m)]
    if isinstance(act, Generate):
        yield {
            "task": name, "tag": [TAG, GENERATED_TAG], **common, "output_type": "generate_until",
            "generation_kwargs": generation(act), "process_results": Function.named("written"),
            "metric_list": _metric_list(figures_of_all), **version,
        }  # fmt: skip
        return
    yield {
        "task": name, "tag": [TAG], **common, "output_type": "multiple_choice", "doc_to_choice": "choices",
        "process_results": Function.named("weighed"), "metric_list": _metric_list(figures_of_all), **version,
    }  # fmt: skip
    means = [(n, mean) for n, mean in figures_of_all if mean]
    yield {
        "task": f"{name}_generate", "tag": [GENERATED_TAG], **common, "output_type": "generate_until",
        "generation_kwargs": generation(Generate(CHOICE_TOKENS)), "process_results": Function.named("written_choice"),
        "metric_list": _metric_list([*means, ("unmatched", True)]), **version,
    }  # fmt: skip


def _metric_list(names: Iterable[tuple[str, bool]]) -> list[dict[str, Any]]:
    return [
        {
            "metric": name,
            "aggregation": "mean" if mean else Function.named("figure"),
            "higher_is_better": None if name in _NEITHER else not name.endswith("_p"),
        }
        for name, mean in names
    ]
