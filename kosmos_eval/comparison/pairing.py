"""Which runs may be compared: those that differ in one thing and in nothing else."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from kosmos_eval.errors import UsageError, nearest
from kosmos_eval.prompt import digest
from kosmos_eval.tables.runs import FinishedRun

DIMENSIONS = ("prompt", "shots", "model", "seed")

_FREE = {
    "prompt": {"prompt", "wording", "rationale"},
    "shots": {"shots", "demonstrations", "demonstrations of the same split", "rationale"},
    "model": {"model", "weights"},
    "seed": {"seed", "demonstrations"},
}
"""What may differ besides, because it follows from what is compared."""
_CHOICE = ("sampler", "order", "index of pictures", "pool of demonstrations")
"""How demonstrations were chosen and shown, where there are some."""
_SAMPLES = "samples (--limit)"
_SEED = {"seed", "order", "demonstrations", _SAMPLES}
"""What may differ between the pairs of several seeds and orders that are pooled."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The same comparison, once a seed and order: `baseline[i]` with `variant[i]`."""

    names: tuple[str, str]
    """What the two are called: the values of what they differ in."""
    baseline: tuple[FinishedRun, ...]
    variant: tuple[FinishedRun, ...]


@dataclass(frozen=True, slots=True)
class Unpaired:
    """A run that is not compared, and why."""

    run: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Side:
    """A run, the value of what is compared, and all that has to be equal."""

    run: FinishedRun
    name: str
    fixed: dict[str, Any]

    def key(self, without: frozenset[str] | set[str] = frozenset()) -> tuple[Any, ...]:
        return tuple(value for name, value in self.fixed.items() if name not in without)


def pair(
    runs: Sequence[FinishedRun], by: str, baseline: str | None = None, per_seed: bool = False
) -> tuple[list[Pair], list[Unpaired]]:
    """Pairs every run with the baseline run that differs from it in `by` alone; and the runs that have none.

    The baseline is a value of what is compared; without it `standard`, the fewest shots, the first model by name, or
    the first seed. Raises UsageError for one that no run has.
    """
    if by not in DIMENSIONS:
        raise UsageError(f"--by {by!r}: runs are compared by {', '.join(DIMENSIONS)}{nearest(by, DIMENSIONS)}")
    names = _names(runs, by)
    sides = [_Side(run, name, _fixed(run, by)) for run, name in zip(runs, names, strict=True)]
    sides = _shotless_with_each(sides) if by == "shots" else sides
    base = _baseline(by, names, baseline)
    sides, left_out = _latest(sides)
    found, unmatched = _match(sides, base)
    pairs = _largest(found, left_out)
    paired = {side.run.name for both in found for side in both}
    for side in unmatched:
        if side.run.name not in paired:
            left_out.append(Unpaired(side.run.name, _why(side, sides, by, base)))
            paired.add(side.run.name)
    pools = _pools(pairs, pooled=not per_seed and by != "seed")
    return pools, sorted(left_out, key=lambda u: u.run)


def _names(runs: Iterable[FinishedRun], by: str) -> list[str]:
    """What each run is called in this comparison; two wordings or two weights of one name are told apart.

    Wordings are counted within a task, since each task has its own; weights over all tasks.
    """
    parts = [(run.manifest.task if by == "prompt" else "", *_value(run, by)) for run in runs]
    kinds = Counter((among, name) for among, name, _ in set(parts))
    names = [f"{name}@{mark[:8]}" if kinds[among, name] > 1 else name for among, name, mark in parts]
    return _told_by_rationale(runs, names) if "rationale" in _FREE[by] else names


def _told_by_rationale(runs: Iterable[FinishedRun], names: Sequence[str]) -> list[str]:
    """The names; told apart where demonstrations show the model's rationales in one run, the data's in another."""
    ms = [run.manifest for run in runs]
    likes = [(m.task, m.prompt, m.shots, name) for m, name in zip(ms, names, strict=True)]
    origins = Counter(like for like, _ in {(like, m.rationale) for like, m in zip(likes, ms, strict=True)})
    return [
        f"{name} ({m.rationale} rationales)" if origins[like] > 1 else name
        for m, name, like in zip(ms, names, likes, strict=True)
    ]


def _value(run: FinishedRun, by: str) -> tuple[str, str]:
    m = run.manifest
    marks = {"prompt": digest(m.template), "model": m.model_fingerprint}
    return str(getattr(m, by)), marks.get(by, "")


def _fixed(run: FinishedRun, by: str) -> dict[str, Any]:
    """All that decides what was asked of whom, but for what is compared."""
    m = run.manifest
    everything = {
        "task": m.task,
        "split": m.split,
        "data": (m.data, m.data_fingerprint),
        "model": m.model,
        "weights": m.model_fingerprint,
        "dtype": m.dtype,
        "prompt": m.prompt,
        "wording": digest(m.template) if by == "shots" else m.prompt_hash,
        "shots": m.shots,
        "sampler": m.demos,
        "order": m.order,
        "index of pictures": m.demos_index if m.shots else None,
        "pool of demonstrations": m.demos_fingerprint if m.shots else None,
        "demonstrations": tuple(m.demonstrations or ()) if m.shots else (),
        "demonstrations of the same split": m.demos_same_split if m.shots else False,
        "rationale": m.rationale,
        "seed": m.seed,
        _SAMPLES: digest(sorted(run.asked)),
    }
    return {name: value for name, value in everything.items() if name not in _FREE[by]}


def _shotless_with_each(sides: Sequence[_Side]) -> list[_Side]:
    """A run without demonstrations stands beside those of every sampler, index and order: it shows nothing that they
    could have chosen."""
    chosen = [{name: side.fixed[name] for name in _CHOICE} for side in sides if side.run.manifest.shots]
    different = [values for place, values in enumerate(chosen) if values not in chosen[:place]]
    found = []
    for side in sides:
        shotless = not side.run.manifest.shots and different
        found += [replace(side, fixed=side.fixed | values) for values in different] if shotless else [side]
    return found


def _baseline(by: str, names: Sequence[str], wanted: str | None) -> str:
    known = sorted(set(names), key=_in_order)
    if wanted is not None:
        if wanted not in known:
            raise UsageError(f"--baseline {wanted!r}: no run has it as {by}{nearest(wanted, known)}")
        return wanted
    if by == "prompt" and "standard" not in known:
        raise UsageError(f"no run has the prompt 'standard'; name the --baseline: {', '.join(known)}")
    return "standard" if by == "prompt" else known[0]


def _in_order(name: str) -> tuple[bool, int, str]:
    return (True, int(name), name) if name.lstrip("-").isdecimal() else (False, 0, name)


def _latest(sides: Iterable[_Side]) -> tuple[list[_Side], list[Unpaired]]:
    """Of runs that are the same in everything, made twice in two folders, the latest."""
    kept: dict[tuple[Any, ...], _Side] = {}
    left_out = []
    for side in sorted(sides, key=lambda s: (s.run.manifest.created, s.run.name), reverse=True):
        key = (side.name, side.run.manifest.rationale, *side.key())
        if key in kept:
            left_out.append(Unpaired(side.run.name, f"the same as {kept[key].run.name}, which is later"))
        else:
            kept[key] = side
    return sorted(kept.values(), key=lambda s: s.run.name), left_out


def _match(sides: Iterable[_Side], base: str) -> tuple[list[tuple[_Side, _Side]], list[_Side]]:
    groups: defaultdict[tuple[Any, ...], list[_Side]] = defaultdict(list)
    for side in sides:
        groups[side.key()].append(side)
    matched: list[tuple[_Side, _Side]] = []
    unmatched: list[_Side] = []
    for group in groups.values():
        found = [*product((s for s in group if s.name == base), (s for s in group if s.name != base))]
        matched += found
        unmatched += [] if found else group
    return matched, unmatched


def _largest(pairs: Iterable[tuple[_Side, _Side]], left_out: list[Unpaired]) -> list[tuple[_Side, _Side]]:
    """Of pairs that differ only in how many samples were asked, the one with the most."""
    kept: dict[tuple[Any, ...], tuple[_Side, _Side]] = {}
    for baseline, variant in sorted(pairs, key=lambda p: (-p[0].run.manifest.counts.samples, p[1].run.name)):
        key = (variant.name, *_rationales(baseline, variant), *variant.key({_SAMPLES}))
        if key in kept:
            left_out.append(Unpaired(variant.run.name, f"{kept[key][1].run.name} is compared, on more samples"))
        else:
            kept[key] = baseline, variant
    return list(kept.values())


def _pools(pairs: Iterable[tuple[_Side, _Side]], pooled: bool) -> list[Pair]:
    """Pairs that are the same but for seed and order, together; or each on its own."""
    pools: defaultdict[tuple[Any, ...], list[tuple[_Side, _Side]]] = defaultdict(list)
    for baseline, variant in pairs:
        key = (variant.name, *_rationales(baseline, variant), *variant.key(_SEED if pooled else set()))
        pools[key].append((baseline, variant))
    found = []
    for pool in pools.values():
        pool.sort(key=lambda p: [(side.run.manifest.seed, side.run.manifest.order) for side in p])
        sides = tuple(zip(*pool, strict=True))
        found.append(
            Pair(
                (sides[0][0].name, sides[1][0].name),
                tuple(side.run for side in sides[0]),
                tuple(side.run for side in sides[1]),
            )
        )
    return found


def _rationales(baseline: _Side, variant: _Side) -> tuple[str | None, str | None]:
    return baseline.run.manifest.rationale, variant.run.manifest.rationale


def _why(side: _Side, sides: Iterable[_Side], by: str, base: str) -> str:
    """Why a run has no partner: in what else the nearest run differs."""
    is_baseline = side.name == base
    wanted = f"{by} other than {base}" if is_baseline else f"{by} {base}"
    others = [
        other
        for other in sides
        if (other.name == base) != is_baseline and other.run.manifest.task == side.run.manifest.task
    ]
    if not others:
        return f"no run of {side.run.manifest.task} with {wanted}"
    nearest_run = min(others, key=lambda other: (len(_differing(side, other)), other.run.name))
    same = " and ".join(_differing(side, nearest_run))
    return f"no run with {wanted} and the same {same} (the nearest is {nearest_run.run.name})"


def _differing(a: _Side, b: _Side) -> tuple[str, ...]:
    return tuple(name for name, value in a.fixed.items() if b.fixed[name] != value)
