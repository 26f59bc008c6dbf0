"""The benchmark: every way of doing the work gives the answers that are timed, and a difference is not passed over."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from kosmos_eval.benchmarks import shapes
from kosmos_eval.benchmarks.hugging_face import ARMS
from kosmos_eval.benchmarks.measure import Bench, Measured, rows
from kosmos_eval.benchmarks.work import WORKS, make_work
from kosmos_eval.cli import app
from kosmos_eval.engine.limits import Limits
from kosmos_eval.errors import KosmosEvalError, UsageError
from kosmos_eval.kosmos.config import KosmosConfig, TextConfig, VisionConfig
from kosmos_eval.kosmos.images import Preprocessing
from kosmos_eval.kosmos.processor import Processor
from kosmos_eval.kosmos.tokenizer import KosmosTokenizer
from kosmos_eval.models.locate import bundled

TINY = KosmosConfig(
    TextConfig(vocab_size=1224, max_position_embeddings=1024, embed_dim=64, layers=2, ffn_dim=128, attention_heads=4),
    VisionConfig(hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4),
)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setitem(shapes.SHAPES, "tiny", TINY)
    network = shapes.random_network("tiny", 0, "cpu", torch.float32)
    processor = Processor(KosmosTokenizer.load(bundled("kosmos-mini")), Preprocessing(), TINY)
    return Bench(network, processor, shapes.hugging_face(network), Limits(rows=2))


def measured(bench: Bench, name: str, shots: int = 2) -> Measured:
    return bench.measure(make_work(name, shots, 3, TINY.text.vocab_size), 1, lambda what: None)


@pytest.mark.parametrize("name", WORKS)
def test_all_ways_of_doing_the_work_agree(bench: Bench, name: str) -> None:
    found = measured(bench, name)
    assert set(found.agreements) == set(found.work.against) <= set(ARMS)
    for agreement in found.agreements.values():
        assert agreement.compared > 0
        assert agreement.texts == agreement.same_texts
        assert agreement.texts or agreement.largest < 1e-4
    assert 0 < found.effort.computed < found.effort.asked
    assert 0 < found.effort.peak_share < 1.5
    for row in rows(found):
        assert all(math.isfinite(v) for v in row.values() if isinstance(v, float))


def test_another_model_does_not_pass_for_the_same(bench: Bench) -> None:
    bench.hf_model.text_model.lm_head.weight = torch.nn.Parameter(bench.network.decoder.embed_tokens.weight.flip(0))  # type: ignore[attr-defined]
    for name in ("score", "greedy"):
        with pytest.raises(KosmosEvalError, match="differ"):
            measured(bench, name)


def test_weights_are_shared_not_copied(bench: Bench) -> None:
    ours = {p.untyped_storage().data_ptr() for p in bench.network.parameters()}
    assert {p.untyped_storage().data_ptr() for p in bench.hf_model.parameters()} == ours  # type: ignore[attr-defined]


def test_the_command_writes_what_it_measured(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "bench.csv"
    command = ["bench", "--shape", "tiny", "--work", "score", "--shots", "1", "--queries", "2", "--rounds", "1"]
    result = CliRunner().invoke(app, [*command, "--against", "s0,s3", "--csv", str(file)])
    assert result.exit_code == 0, result.output
    with file.open(encoding="utf-8") as lines:
        found = list(csv.DictReader(lines))
    assert [row["arm"] for row in found] == ["engine", "s0", "s3"]
    assert float(found[1]["ratio"]) > 0


def test_unknown_work_is_an_error() -> None:
    with pytest.raises(UsageError, match="scores"):
        make_work("scores", 2, 2, 1224)
    with pytest.raises(UsageError, match="s9"):
        make_work("score", 2, 2, 1224).only(["s9"])


def test_keys_and_values_are_shared(bench: Bench) -> None:
    """One path for the batch, and slots no longer than what is written."""
    bench.limits = Limits(rows=8)
    made = make_work("greedy", 4, 8, TINY.text.vocab_size).only([])
    effort = bench.measure(made, 1, lambda what: None).effort
    text = TINY.text
    longest = effort.kv_per_row / 8 / (2 * text.layers * text.embed_dim * 4)
    own = longest - 4 * (66 + 16)  # what a row has beyond the shortest demonstrations, at most
    assert effort.kv_bytes <= (2 * 64 + longest + 8 * own) * 2 * text.layers * text.embed_dim * 4
    assert effort.kv_per_row > 2 * effort.kv_bytes
