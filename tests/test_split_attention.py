"""Attention in parts gives what one softmax over all of them gives, whatever the rows are, by either kernel."""

from __future__ import annotations

from itertools import accumulate

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos_eval.engine import parts
from kosmos_eval.engine.attention import PackedAttention, Piece, StepAttention
from kosmos_eval.engine.cache import PathCache, SlotCache, TailCache
from kosmos_eval.engine.split import SplitAttention, pays
from kosmos_eval.kosmos.config import TextConfig

CONFIG = TextConfig(vocab_size=8, max_position_embeddings=64, embed_dim=16, layers=1, ffn_dim=16, attention_heads=2)
CPU, ROOM = torch.device("cpu"), 32


@st.composite
def passes(draw: st.DrawFn) -> list[Piece]:
    """Rows with and without own past, with trees of choices and without, behind one path."""
    path, pieces = draw(st.integers(1, 20)), []
    for slot in range(draw(st.integers(1, 5))):
        own, chain, tree = draw(st.integers(0, 6)), draw(st.integers(1, 7)), draw(st.integers(0, 4))
        piece = Piece(path, own, chain, chain + tree, slot=slot, keep_at=own)
        if tree:  # each node below an earlier one, or below the chain
            piece.sees = torch.eye(tree, dtype=torch.bool)
            for node in range(1, tree):
                if (parent := draw(st.integers(-1, node - 1))) >= 0:
                    piece.sees[node] |= piece.sees[parent]
        pieces.append(piece)
    return pieces


def _caches(seed: int, path: int, rows: int, own: int) -> tuple[PathCache, SlotCache]:
    generator = torch.Generator().manual_seed(seed)
    cache, slots = PathCache(CONFIG, CPU, torch.float32), SlotCache(CONFIG, rows, ROOM, CPU, torch.float32)
    cache.reserve(path)
    slots.reserve(own + ROOM // 2)
    for tensors, length in ((cache.k, path), (cache.v, path), (slots.k, own), (slots.v, own)):
        shape = tensors[0][..., :length, :].shape
        tensors[0][..., :length, :] = torch.randn(shape, generator=generator)
    return cache, slots


@pytest.mark.parametrize("fused", [True, False])
@settings(deadline=None)
@given(pieces=passes(), seed=st.integers(0, 99))
def test_two_parts_give_what_one_gives(fused: bool, pieces: list[Piece], seed: int) -> None:
    tokens = sum(piece.new for piece in pieces)
    q, k, v = torch.randn(3, tokens, 2, 8, generator=torch.Generator().manual_seed(seed))
    found, kept = [], []
    for kind in (PackedAttention, SplitAttention):
        path, slots = _caches(seed, pieces[0].path, len(pieces), max(piece.own for piece in pieces))
        with pytest.MonkeyPatch.context() as patch:
            if not fused:
                patch.setattr(parts, "_FUSED", None)
            found.append(kind(pieces, path, slots, device=CPU, dtype=torch.float32)(0, q, k, v))
        kept.append((slots.k[0], slots.v[0]))
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)
    starts = accumulate((piece.new for piece in pieces), initial=0)
    for row, (piece, start) in enumerate(zip(pieces, starts, strict=False)):
        chain = slice(start, start + piece.chain)
        for cached, new in zip(kept[1], (k, v), strict=True):
            assert torch.equal(cached[row, :, piece.own : piece.own + piece.chain], new[chain].transpose(0, 1))


@settings(deadline=None)
@given(pieces=passes(), seed=st.integers(0, 99))
def test_a_row_that_is_no_number_spoils_no_other(pieces: list[Piece], seed: int) -> None:
    tokens = sum(piece.new for piece in pieces)
    q, k, v = torch.randn(3, tokens, 2, 8, generator=torch.Generator().manual_seed(seed))
    found = []
    for spoilt in (False, True):
        if spoilt:
            for tensor in (q, k, v):
                tensor[: pieces[0].new] = torch.nan
        path, slots = _caches(seed, pieces[0].path, len(pieces), max(piece.own for piece in pieces))
        found.append(SplitAttention(pieces, path, slots, device=CPU, dtype=torch.float32)(0, q, k, v)[pieces[0].new :])
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)


def _written_tail(
    rows: int, beams: int, steps: int, generator: torch.Generator
) -> tuple[TailCache, list[tuple[torch.Tensor, torch.Tensor]]]:
    """A tail after some steps and changes of beams and rows, one row more at first; and what each beam wrote itself."""
    tail = TailCache(CONFIG, rows + 1, beams, 4, CPU, torch.float32)
    wrote = [(torch.zeros(2, 0, 8), torch.zeros(2, 0, 8)) for _ in range((rows + 1) * beams)]
    for step in range(steps):
        k, v = torch.randn(2, len(wrote), 2, 8, generator=generator)
        tail.add(0, k, v)
        tail.steps += 1
        wrote = [(torch.cat([a, k[i][:, None]], 1), torch.cat([b, v[i][:, None]], 1)) for i, (a, b) in enumerate(wrote)]
        order = torch.randperm(rows + 1 if step == 0 else rows, generator=generator)[:rows].tolist()
        choices = torch.randint(beams, (rows, beams), generator=generator).tolist()
        sources = [row * beams + beam for row, chosen in zip(order, choices, strict=True) for beam in chosen]
        tail.reorder(sources)
        wrote = [wrote[source] for source in sources]
    if not steps:
        tail.reorder(list(range(rows * beams)))
    return tail, wrote[: rows * beams]


@pytest.mark.parametrize("fused", [True, False])
@settings(deadline=None)
@given(
    path=st.integers(0, 12), own=st.lists(st.integers(1, 7), min_size=1, max_size=4), beams=st.integers(1, 3),
    steps=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_step_gives_what_one_softmax_gives(
    fused: bool, path: int, own: list[int], beams: int, steps: int, seed: int
) -> None:
    rows, generator = len(own), torch.Generator().manual_seed(seed)
    cache, slots = _caches(seed, path, rows, max(own))
    q, k, v = torch.randn(3, rows * beams, 2, 8, generator=generator)
    tail, wrote = None, [(torch.zeros(2, 0, 8),) * 2] * (rows * beams)
    if beams > 1:
        tail, wrote = _written_tail(rows, beams, steps, generator)
    expected = []
    for number in range(rows * beams):
        row = number // beams
        seen = []
        for name, new, before in (("k", k, wrote[number][0]), ("v", v, wrote[number][1])):
            shared, slot = getattr(cache, name)[0][:, :path], getattr(slots, name)[0][row, :, : own[row]]
            seen.append(torch.cat([shared, slot, before, new[number][:, None]], dim=1))
        weights = (seen[0] @ q[number][:, :, None] * 8**-0.5).softmax(dim=1)
        expected.append((weights * seen[1]).sum(dim=1))
    with pytest.MonkeyPatch.context() as patch:
        if not fused:
            patch.setattr(parts, "_FUSED", None)
        found = StepAttention.behind(cache, path, slots, own, beams, tail)(0, q, k, v)
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_the_path_grows_in_place_and_long_paths_are_read_once() -> None:
    assert not pays([Piece(path=900, own=0, chain=4, new=4)], CPU)
    assert not pays([Piece(path=0, own=0, chain=4, new=4)] * 2, CPU)
    assert pays([Piece(path=900, own=0, chain=4, new=4)] * 2, CPU)
    assert not pays([Piece(path=30, own=0, chain=4, new=4)] * 2, CPU)
    assert pays([Piece(path=30, own=0, chain=4, new=4)] * 2, torch.device("cuda"))
    assert pays([Piece(path=4, own=9, chain=4, new=4)], CPU)


def test_slots_never_show_memory_that_was_not_cleared() -> None:
    slots = SlotCache(CONFIG, 2, 300, CPU, torch.float32)
    for tensor in (*slots.k, *slots.v):
        tensor.fill_(float("nan"))  # what fresh memory may hold
    slots.reserve(3)
    slots.k[0][:, :, :3] = 1.0
    slots.reserve(400)
    assert slots.room >= 400
    assert bool((slots.k[0][:, :, :3] == 1.0).all())
    assert not any(bool(tensor.isnan().any()) for tensor in (*slots.k, *slots.v))


@given(seed=st.integers(0, 99), keys=st.integers(1, 90))
def test_parts_in_half_precision_are_added_up_in_full(seed: int, keys: int) -> None:
    """Scores of 20 have two digits in bfloat16: weights would be off by a twentieth."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(1, 2, n, 16, generator=generator).mul(3).bfloat16() for n in (4, keys + 1, keys + 1))
    found = parts.merge(*(parts.written_out(q, k[:, :, own], v[:, :, own]) for own in (slice(keys), slice(keys, None))))
    weights = (q.float() @ k.float().transpose(-1, -2) / 4).softmax(-1)
    torch.testing.assert_close(found.values.float(), weights @ v.float(), atol=0.04, rtol=0.02)
