"""Fuzz: whatever is done to a data file, a reader raises nothing but KosmosEvalError, in one line."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from builders import LAYOUTS, Layout
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import by_file, layout_of, opened, read_rows, write_value

from kosmos_eval.errors import KosmosEvalError

fuzz = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
json_values = st.recursive(
    scalars, lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=3), s, max_size=2)
)


def survives(layout: Layout, folder: Path) -> None:
    error = None
    try:
        task = opened(layout, folder)
        task.samples  # noqa: B018
        task.demonstration_pool()
    except KosmosEvalError as caught:
        error = caught
    assert "\n" not in str(error)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {lay.name: lay.build(tmp_path_factory.mktemp(lay.name)) for lay in LAYOUTS}


@by_file
def test_mutated_bytes(layout: Layout, built: dict[str, Path]) -> None:
    path = built[layout.name] / str(layout.file)
    valid = path.read_bytes()

    @fuzz
    @given(
        st.lists(
            st.tuples(st.integers(0, len(valid)), st.integers(0, 4), st.binary(max_size=4)), min_size=1, max_size=4
        )
    )
    def mutate(edits: list[tuple[int, int, bytes]]) -> None:
        raw = valid
        for at, length, new in edits:
            raw = raw[:at] + new + raw[at + length :]
        path.write_bytes(raw)
        survives(layout, built[layout.name])

    try:
        mutate()
    finally:
        path.write_bytes(valid)


@by_file
def test_replaced_nodes(layout: Layout, built: dict[str, Path]) -> None:
    folder = built[layout.name]
    valid = (folder / str(layout.file)).read_bytes()
    value, _ = read_rows(layout, folder)

    @fuzz
    @given(st.data())
    def replace(data: st.DataObject) -> None:
        changed = node = copy.deepcopy(value)
        while True:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            key = data.draw(st.sampled_from(keys))
            if not node[key] or not isinstance(node[key], (list, dict)) or data.draw(st.booleans()):
                node[key] = data.draw(json_values)
                break
            node = node[key]
        write_value(layout, folder, changed)
        survives(layout, folder)

    try:
        replace()
    finally:
        (folder / str(layout.file)).write_bytes(valid)


def test_npz_fuzz(built: dict[str, Path]) -> None:
    path = built["raven_npz"] / "center_single/RAVEN_9_test.npz"
    valid = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        raw = bytearray(valid)
        for at in rng.integers(0, len(raw), rng.integers(1, 5)):
            raw[at] = rng.integers(0, 256)
        path.write_bytes(bytes(raw[: rng.integers(1, len(raw) + 1)] if rng.random() < 0.3 else raw))
        survives(layout_of("raven_npz"), built["raven_npz"])
    path.write_bytes(valid)
