"""Fuzz: whatever is done to a file, reading it raises nothing but KosmosEvalError, in one line, and loses no record."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from fuzz_targets import TARGETS, Target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kosmos_eval.errors import KosmosEvalError

FEW, MANY = 60, 10_000

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
json_values = st.recursive(
    scalars, lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=3), s, max_size=2)
)


@st.composite
def edited(draw: st.DrawFn, valid: bytes) -> bytes:
    """The bytes with some replaced, cut out, put in or put elsewhere."""
    raw = valid
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(raw))), draw(st.integers(0, 40))
        new = draw(st.binary(max_size=4) | st.just(raw[at : at + length] * 2))
        raw = raw[:at] + new + raw[at + length :]
    return raw


@st.composite
def replaced(draw: st.DrawFn, rows: list[Any], lines: bool) -> bytes:
    """JSON with one value, at any depth, replaced, taken out or doubled."""
    changed: Any = copy.deepcopy(rows)
    node = changed
    while True:
        key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        if not node[key] or not isinstance(node[key], (list, dict)) or draw(st.booleans()):
            break
        node = node[key]
    what = draw(st.sampled_from(("replace", "replace", "delete", "double")))
    if what == "replace":
        node[key] = draw(json_values)
    elif what == "delete":
        del node[key]
    elif isinstance(node, list):
        node.insert(key, copy.deepcopy(node[key]))
    if lines:
        return "".join(json.dumps(row) + "\n" for row in changed).encode()
    return json.dumps(changed[0] if changed else None).encode()


def contents(valid: bytes, suffix: str) -> st.SearchStrategy[bytes]:
    if suffix not in (".json", ".jsonl"):
        return edited(valid)
    lines = suffix == ".jsonl"
    rows = [json.loads(line) for line in valid.splitlines()] if lines else [json.loads(valid)]
    return edited(valid) | replaced(rows, lines)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_whatever_a_file_holds_it_is_used_or_named(target: Target, examples: int, tmp_path: Path) -> None:
    file = target.build(tmp_path)
    valid = file.read_bytes()
    target.read(file)

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None,
              derandomize=examples == FEW)  # fmt: skip
    @given(contents(valid, file.suffix))
    def survives(content: bytes) -> None:
        target.survives(file, content)

    survives()


FOUND = {
    "a text that is a number": ("stored-responses.jsonl", b'"id": "test/0"', b'"id": 0', "line 1: not a response"),
    "a hash that is none": ("stored-responses.jsonl", b'"files": ["', b'"files": ["u', "'files' is not two hashes"),
    "the last line of a unit": ("stored-responses.jsonl", b'"id": "test/5"', b'"id": null', "line 6: not a response"),
    "scores without errors": ("stored-scores.json", b'"errors"', b'"e"', "not a run's scores"),
    "a value of no size": ("stored-scores.json", b'"value": ', b'"value": 1e999, "v": ', "not a run's scores"),
    "a sample twice": ("stored-per_sample.jsonl", b"test/1", b"test/0", "holds 'test/0' twice"),
    "a value that is a text": ("stored-per_sample.jsonl", b'"values": {', b'"values": {"a": "b", ', "not a sample's"),
    "a sample without fields": ("stored-samples.jsonl", b'"fields"', b'"f"', "line 1: not a sample's"),
    "a rationale of no picture": ("rendered_sst2-rationales", b"negative/0000", b"nnegative/0000", "no picture here"),
    "a prompt called 1": ("prompts", b"standard:", b"1:", "put it in quotes"),
}
"""What fuzzing found: target, what is replaced by what, and what is then said."""


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_stays_mended(name: str, tmp_path: Path) -> None:
    target_name, old, new, said = FOUND[name]
    target = next(target for target in TARGETS if target.name == target_name)
    file = target.build(tmp_path)
    valid = file.read_bytes()
    assert old in valid
    file.write_bytes(valid.replace(old, new, 1))
    with pytest.raises(KosmosEvalError, match=re.escape(said)):
        target.read(file)
