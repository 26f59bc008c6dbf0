"""A cell: one run that is planned. Everything about it is decided and checked before a model is loaded."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from math import factorial
from typing import Any, Literal
from weakref import WeakKeyDictionary

from kosmos_eval.demos import POOL, RETRIEVED, DemoChooser, fewest, limited, ordered, permutation, sampler_of
from kosmos_eval.errors import PromptError, UsageError
from kosmos_eval.plan import Asking, needed_demonstrations, plan, request
from kosmos_eval.prompt import digest
from kosmos_eval.request import Request
from kosmos_eval.rices import PictureIndex, picture_of
from kosmos_eval.task import Sample, Task, data_fingerprint
from kosmos_eval.template import PromptFile, Template

RationaleOrigin = Literal["field", "model", "none"]

_pools: WeakKeyDictionary[Task, dict[int, tuple[list[Sample], bool]]] = WeakKeyDictionary()
_wholes: WeakKeyDictionary[Task, Sequence[Sample]] = WeakKeyDictionary()
_sorted: WeakKeyDictionary[Task, Sequence[Sample]] = WeakKeyDictionary()
_fewest: WeakKeyDictionary[Task, dict[tuple[int, int | None], int]] = WeakKeyDictionary()
_fingerprints: WeakKeyDictionary[Task, str] = WeakKeyDictionary()
_pool_fingerprints: WeakKeyDictionary[Task, str] = WeakKeyDictionary()


def _pool(task: Task, seed: int) -> tuple[list[Sample], bool]:
    """A task's demonstration candidates under a seed: read once, and no more kept than a chooser looks at."""
    by_seed = _pools.setdefault(task, {})
    if seed not in by_seed:
        samples, same_split = task.demonstration_pool()
        by_seed[seed] = ordered(samples, seed, "demos", POOL), same_split
        if task not in _pool_fingerprints:  # while the whole split is at hand
            _pool_fingerprints[task] = _fingerprint(task) if same_split else data_fingerprint(samples)
    return by_seed[seed]


def _whole_pool(task: Task) -> Sequence[Sample]:
    """All of a task's demonstration candidates."""
    if task not in _wholes:
        _wholes[task] = task.demonstration_pool()[0]
    return _wholes[task]


class _ById(Sequence[Sample]):
    """Samples in the order of their ids, left where they lie."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        ids = [sample.id for sample in samples]
        self._samples, self._order = samples, array("Q", sorted(range(len(ids)), key=ids.__getitem__))

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: Any) -> Any:
        return self._samples[self._order[place]]


def _by_id(task: Task) -> Sequence[Sample]:
    if task not in _sorted:
        _sorted[task] = _ById(task.samples)
    return _sorted[task]


def _fingerprint(task: Task) -> str:
    if task not in _fingerprints:
        _fingerprints[task] = data_fingerprint(task.samples)
    return _fingerprints[task]


@dataclass(frozen=True, eq=False)
class Cell:
    """A task, a prompt, shots, a sampler, a seed, a limit and an order of demonstrations. Compared by identity."""

    task: Task
    prompt: str
    template: Template
    plain_demo: str | None
    """The demonstration of the `standard` prompt, for demonstrations that show no rationale."""
    shots: int = 0
    demos: str = "fixed"
    seed: int = 0
    limit: int | None = None
    file: str | None = None
    """Where the prompt was read, for messages."""
    order: int = 0
    """Which of the seeded orders its demonstrations are shown in; the 0th is as they were chosen."""
    index: PictureIndex | None = None
    """What `rices` chooses by. Made once a model is known, before the cell is run; nothing is planned without it."""

    @classmethod
    def of(
        cls,
        task: Task,
        prompts: PromptFile,
        prompt: str,
        *,
        shots: int = 0,
        demos: str = "fixed",
        seed: int = 0,
        limit: int | None = None,
    ) -> Cell:
        """A checked cell. Raises UsageError or PromptError for whatever cannot be run."""
        standard = prompts.templates.get("standard")
        plain = standard.demo if standard else None
        cell = cls(task, prompt, prompts[prompt], plain, shots, demos, seed, limit, str(prompts.path))
        cell._check()
        return cell

    @property
    def title(self) -> str:
        return f"{self.task.name} {self.prompt} {self.shots}-shot"

    @cached_property
    def samples(self) -> Sequence[Sample]:
        return limited(self.task.samples, self.limit, self.seed)

    def in_orders(self, n: int) -> list[Cell]:
        """This cell in `n` orders of its demonstrations, itself the first; in fewer where there are not so many.

        Raises UsageError for less than one.
        """
        if n < 1:
            raise UsageError(f"--demo-orders {n}: there is one order at least")
        return [replace(self, order=order) if order else self for order in range(min(n, factorial(self._shown)))]

    @property
    def retrieves(self) -> bool:
        """Whether its demonstrations are chosen by an index of pictures."""
        return bool(self._shown) and sampler_of(self.demos)[0] in RETRIEVED

    @property
    def embedder(self) -> str | None:
        """The model whose vision tower compares pictures; None for the one that is run."""
        return sampler_of(self.demos)[1]

    @property
    def pool(self) -> Sequence[Sample]:
        """What its demonstrations are chosen from: the whole split where pictures are compared."""
        return _whole_pool(self.task) if self.retrieves else _pool(self.task, self.seed)[0]

    @cached_property
    def chooser(self) -> DemoChooser:
        if not self._shown:
            return DemoChooser((), "fixed", 0, self.seed)
        return DemoChooser(self.pool, self.demos, self._shown, self.seed, self.index, self.order)

    @property
    def demos_same_split(self) -> bool:
        """Whether demonstrations come from the evaluated split, for want of another."""
        return bool(self._shown) and _pool(self.task, self.seed)[1]

    @property
    def _shown(self) -> int:
        """How many demonstrations a query gets; at zero shots some prompts show a few without their images."""
        return self.shots or self.template.zero_shot_text_demos

    @property
    def data_fingerprint(self) -> str:
        return _fingerprint(self.task)

    @property
    def demos_fingerprint(self) -> str | None:
        """Of the whole split that its demonstrations come from; None where it shows none."""
        if not self._shown:
            return None
        _pool(self.task, self.seed)
        return _pool_fingerprints[self.task]

    @property
    def prompt_hash(self) -> str:
        """Of the text this cell's prompts are made from."""
        return digest([self.template.hash, self.plain_demo if self.shots else None])

    def asking(self, rationales: Mapping[str, str] | None) -> Asking:
        """How its samples are asked, given the rationales that its demonstrations show."""
        return Asking(
            self.task.name,
            self.prompt,
            self.template,
            self.task.answers,
            self.chooser,
            self.plain_demo if self.plain_demo is not None else self.template.demo,
            rationales,
            text_demos=not self.shots,
            others=_by_id(self.task) if self._draws_others else (),
            file=self.file,
        )

    @property
    def _draws_others(self) -> bool:
        """Whether its prompts may show `{{ other.* }}`."""
        return any("other" in text for text in (*self.template.texts, self.plain_demo or ""))

    def plan(self, rationales: Mapping[str, str] | None) -> Iterator[tuple[Request, tuple[str, ...]]]:
        return plan(self.samples, self.asking(rationales))

    @cached_property
    def rationale_demos(self) -> list[Sample]:
        """The demonstrations that show a rationale, whoever writes it."""
        if not self.shots or self.template.rationale_name is None or self.template.rationale == "none":
            return []
        return needed_demonstrations(self.samples, self.asking(None))

    @cached_property
    def rationale_origin(self) -> RationaleOrigin | None:
        """Where its demonstrations' rationales come from; None where the prompt shows none, or there are no shots."""
        if not self.shots or self.template.rationale_name is None:
            return None
        source = self.template.rationale
        if source != "auto":
            return source
        return "field" if all(self._field_rationale(d) is not None for d in self.rationale_demos) else "model"

    def field_rationales(self) -> dict[str, str]:
        """The rationales that the data holds, by sample id. Raises PromptError where one is wanting."""
        found: dict[str, str] = {}
        for demo in self.rationale_demos:
            rationale = self._field_rationale(demo)
            if rationale is None:
                name = self.template.rationale_name
                raise PromptError(
                    f"{self.title}: demonstration {demo.id!r} has no field {name!r}; use 'rationale: model'"
                )
            found[demo.id] = rationale
        return found

    def _field_rationale(self, sample: Sample) -> str | None:
        value = sample.fields.get(str(self.template.rationale_name))
        return None if value is None else str(value)

    def _check(self) -> None:
        if self.shots < 0:
            raise UsageError(f"--shots {self.shots}: not a number of demonstrations")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit {self.limit}: ask for one sample at least")
        sampler_of(self.demos)
        if self.retrieves:
            for sample in chain(self.pool, self.samples):
                picture_of(sample, self.task.name)
            replace(self, demos="fixed")._check()  # all else, as far as it can be known without the index
            return
        if self.shots and self.rationale_origin == "none" and self.plain_demo is None:
            raise PromptError(
                f"{self.title}: 'rationale: none' shows the demonstration of 'standard', which is not there"
            )
        self._check_shots()
        if self.rationale_origin == "field":
            self.field_rationales()
        first = self.samples[0]
        shown = {demo.id: "" for demo in self.chooser.choose(first)}
        request(first, self.asking(shown if self.rationale_origin in ("field", "model") else None))

    def _check_shots(self) -> None:
        """Finds a sample that has too few demonstrations now, not hours later. Which are free does not depend on the
        sampler, and `fixed` tells at the least cost. All cells on the same samples look at them once."""
        if not self._shown:
            return
        permutation(self._shown, self.order, self.seed)
        known, ground = _fewest.setdefault(self.task, {}), (self.seed, self.limit)
        if ground not in known:
            known[ground] = fewest(_pool(self.task, self.seed)[0], self.samples)
        if self._shown <= known[ground]:
            return
        chooser = DemoChooser(_pool(self.task, self.seed)[0], "fixed", self._shown, self.seed)
        for sample in self.samples:
            chooser.choose(sample)
