"""Steps of fixed shape, as a GPU records them, against steps as they come; and what a recording asks of them."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import hf_config, make_checkpoint, picture, words
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kosmos_eval.engine import steps as steps_module
from kosmos_eval.engine.attention import Piece, StepAttention
from kosmos_eval.engine.cache import PathCache, SlotCache, TailCache
from kosmos_eval.engine.limits import Limits
from kosmos_eval.engine.runner import Runner
from kosmos_eval.engine.steps import FixedStep, FixedSteps, Recorder, Shape
from kosmos_eval.kosmos.config import KosmosConfig, TextConfig, VisionConfig
from kosmos_eval.kosmos.model import Kosmos
from kosmos_eval.models.kosmos import KosmosModel
from kosmos_eval.prompt import Image, Output, Segment, Text
from kosmos_eval.request import Choice, Generate, Request, Score, Stage

PICTURES = [Image.of(picture(random.Random(i))) for i in range(3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("steps")
    make_checkpoint(path, seed=5, config=hf_config(layers=2, max_position_embeddings=1024))
    return path


def as_recorded(step: FixedStep) -> Callable[[], None]:
    """What a CUDA graph does: the same work on the same addresses, with the result where it was."""
    step.compute()
    logits = step.logits

    def addresses() -> list[tuple[int, torch.Size, tuple[int, ...]]]:
        held = (step.inputs, *step.path.k, *step.path.v, *step.slots.k, *step.slots.v)
        return [(t.data_ptr(), t.shape, t.stride()) for t in held]

    recorded = addresses()

    def replay() -> None:
        assert addresses() == recorded
        step.compute()
        logits.copy_(step.logits)
        step.logits = logits

    return replay


def model_of(folder: Path, recorder: Recorder | None) -> KosmosModel:
    model = KosmosModel.load(folder, "random", limits=Limits(window=16, rows=5, slack=1))
    if recorder is not None:
        model.engine.runner.steps = FixedSteps(model.network, recorder)
    return model


def requests_of(seed: int, count: int, opening: int = 1) -> list[Request]:
    """Chains and plain texts of different lengths behind two different openings of so many pictures."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        before: list[Segment] = [PICTURES[rng.randrange(2)], Text(f" Question: {words(rng, 3)} Answer:")] * opening
        before += [PICTURES[2], Text(f" {words(rng, rng.randint(1, 6))}")]
        wrote = Stage("first", tuple(before), Generate(rng.choice((1, 3, 20, 70)), no_repeat_ngram=rng.choice((0, 3))))
        if rng.random() < 0.5:
            # More words in between than a slot has room for: it has to grow, and is then nothing that was lent.
            told = (*before, Output("first"), Text(f" {words(rng, 90)}"))
            then = Stage("then", told, Generate(20))
        else:
            told = (*before, Output("first"), Text(" is it good ?"))
            then = Stage("then", told, Score((Choice("yes", " yes"), Choice("no", " no"))))
        found.append(Request(str(number), (), (wrote, then) if rng.random() < 0.5 else (wrote,)))
    return found


def test_recorded_steps_say_what_steps_computed_one_by_one_say(folder: Path) -> None:
    recorded: list[Shape] = []

    def recorder(step: FixedStep) -> Callable[[], None]:
        recorded.append(step.shape)
        return as_recorded(step)

    plain, fixed = model_of(folder, None), model_of(folder, recorder)
    requests = requests_of(1, 16) + requests_of(4, 12, opening=4)
    expected, found = dict(plain.run(requests)), dict(fixed.run(requests))
    assert len({shape.rows for shape in recorded}) > 1
    assert len({shape.own for shape in recorded}) > 1
    assert plain.engine.runner.computed == fixed.engine.runner.computed
    for number in range(len(requests)):
        for a, b in zip(expected[number].stages, found[number].stages, strict=True):
            assert a.generated == b.generated
            for x, y in zip(a.choices or (), b.choices or (), strict=True):
                assert x.logprob == pytest.approx(y.logprob, abs=1e-4)


def test_a_chain_whose_slot_is_just_too_short_says_the_same(folder: Path) -> None:
    """The words in between fill the slot to a few positions less than the second text takes."""
    for between in (1, 4, 8, 11, 13):
        before = (PICTURES[0], Text(" Question: is it red ? Answer:"))
        then = (*before, Output("first"), Text(" good" * between))
        stages = (Stage("first", before, Generate(30)), Stage("then", then, Generate(10)))
        chain = [Request(str(between), (), stages)]
        models = (model_of(folder, None), model_of(folder, as_recorded))
        expected, found = ([s.generated for s in dict(model.run(chain))[0].stages] for model in models)
        assert len(expected[0].ids) == 30  # type: ignore[union-attr]
        assert expected == found


@torch.inference_mode()
def test_what_was_recorded_is_not_replayed_once_the_path_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps_module, "_RECORDED_AFTER", 1)
    network = Kosmos(SIZES).eval()
    steps, path = FixedSteps(network, as_recorded), PathCache(SIZES.text, network.device, network.dtype)
    steps.slots(2, 20)
    path.reserve(8)
    for tensor in (*path.k, *path.v):
        tensor.normal_()
    before = [steps.run(path, 8, [3, 2], [5, 6]).clone() for _ in range(3)]
    path.reserve(200)
    after = steps.run(path, 8, [3, 2], [5, 6])
    torch.testing.assert_close(after, before[0])
    torch.testing.assert_close(before[2], before[0])


@pytest.mark.parametrize("fault", ["refused", "wrong", "memory"])
def test_a_gpu_that_cannot_record_says_so_once_and_goes_on(folder: Path, fault: str) -> None:
    def recorder(step: FixedStep) -> Callable[[], None]:
        if fault == "refused":
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        if fault == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory")
        step.compute()
        step.logits = step.logits + 1
        for tensor in (*step.slots.k, *step.slots.v):
            tensor[torch.arange(step.shape.rows), :, step.inputs[2]] = 7.0
        return step.compute

    requests = requests_of(2, 8)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = dict(model_of(folder, recorder).run(requests))
    assert len([w for w in said if "steps are not recorded on this GPU" in str(w.message)]) == 1
    expected = dict(model_of(folder, None).run(requests))
    assert [s.generated for n in sorted(found) for s in found[n].stages] == [
        s.generated for n in sorted(expected) for s in expected[n].stages
    ]


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 200)), min_size=1, max_size=4))
def test_lent_slots_fit_and_hold_nothing_of_those_before(sizes: list[tuple[int, int]]) -> None:
    steps = FixedSteps(Kosmos(SIZES).eval(), as_recorded)
    for rows, room in sizes:
        lent = steps.slots(rows, room)
        assert steps.holds(lent)
        assert steps.held is not None
        assert (len(lent.k[0]), lent.room) == (rows, room)
        assert steps.held.room > room  # what is rounded up writes behind all rows
        assert not any(bool(t.any()) for t in (*steps.held.k, *steps.held.v))
        for t in (*steps.held.k, *steps.held.v):
            t.fill_(float("nan"))
    lent.reserve(lent.room + 1)
    assert not steps.holds(lent)


SIZES = KosmosConfig(
    text=TextConfig(vocab_size=40, max_position_embeddings=99, embed_dim=16, layers=2, ffn_dim=32, attention_heads=2),
    vision=VisionConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2),
    latent_query_num=4,
)


class OneDevice(TorchDispatchMode):
    """Fails on an operation that reads tensors of two devices; only copies may."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        seen = {t.device.type for t in tree_leaves((args, kwargs or {})) if isinstance(t, torch.Tensor) and t.ndim}
        copies = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        assert copies or len(seen) <= 1, f"{func} reads tensors on {seen}"
        return func(*args, **kwargs or {})


@pytest.fixture
def elsewhere() -> Runner:
    """A runner on a device that holds no values: it cannot be asked for any, and is not the CPU."""
    with torch.device("meta"):
        network = Kosmos(SIZES)
    runner = Runner(network.eval().requires_grad_(False))
    runner.path.reserve(30)
    return runner


def test_a_step_asks_its_device_nothing_and_stays_on_it(elsewhere: Runner) -> None:
    steps = FixedSteps(elsewhere.network, as_recorded)
    steps.records = False  # which would compare values
    steps.slots(3, 20)
    with OneDevice():
        for _ in range(3):
            logits = steps.run(elsewhere.path, 7, [4, 9, 2], [5, 6, 7])
    assert logits.shape == (3, 40)
    assert logits.device.type == "meta"


@pytest.mark.parametrize("pieces", [
    [Piece(path=0, own=0, chain=6, new=6)],
    [Piece(path=9, own=0, chain=4, new=6, sees=torch.eye(2, dtype=torch.bool))] * 2,
    [Piece(path=9, own=3, chain=2, new=2, slot=slot, keep_at=3) for slot in (0, 1)],
])  # fmt: skip
def test_passes_ask_their_device_nothing_and_stay_on_it(elsewhere: Runner, pieces: list[Piece]) -> None:
    slots, tokens = elsewhere.slots(2, 20), sum(p.new for p in pieces)
    with OneDevice():
        slots.reserve(8)
        hidden = elsewhere.packed(pieces, np.arange(tokens) + 1, np.arange(tokens), slots)
    assert hidden.shape == (tokens, 16)


def test_steps_with_beams_ask_their_device_nothing_and_stay_on_it(elsewhere: Runner) -> None:
    slots = SlotCache(SIZES.text, 2, 20, torch.device("meta"), torch.float32)
    tail = TailCache(SIZES.text, 2, 3, 5, torch.device("meta"), torch.float32)
    tail.steps = 2
    with OneDevice():
        tail.reorder([0, 0, 2, 4, 3, 3])
        tail.reorder([4, 3, 3, 0, 0, 2])
        attention = StepAttention.behind(elsewhere.path, 7, slots, [3, 5], beams=3, tail=tail)
        assert elsewhere.run([1] * 6, np.arange(6), attention).shape == (6, 16)


def test_a_gpu_gets_larger_passes_and_batches_and_memory_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=80 << 30))
    on_gpu, on_cpu = Limits.on(torch.device("cuda")), Limits.on(torch.device("cpu"))
    assert on_cpu == Limits()
    assert (on_gpu.window, on_gpu.pictures) == (on_cpu.window, on_cpu.pictures)  # what a work unit is does not change
    assert on_gpu.kv_bytes == 10 << 30
    assert on_gpu.pass_tokens > on_cpu.pass_tokens
