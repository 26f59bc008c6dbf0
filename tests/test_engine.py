"""The engine against Hugging Face at batch 1, and against itself in other company, sizes and orders."""

from __future__ import annotations

import copy
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from checkpoints import Reference, hf_config, make_checkpoint, picture, words
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kosmos_eval.engine.limits import Limits
from kosmos_eval.models.kosmos import KosmosModel
from kosmos_eval.prompt import Image, Output, Prompt, Segment, Tag, Text, Tokens
from kosmos_eval.request import Choice, Generate, Request, Response, Score, Stage, assemble

PICTURES = [Image.of(picture(random.Random(i))) for i in range(6)]
SMALL = Limits(window=3, pass_tokens=40, rows=2, slack=1)

# Every example runs Hugging Face's model many times: no time to shrink a failure.
few = settings(
    max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    path = tmp_path_factory.mktemp("engine")
    return path, make_checkpoint(path, seed=5, config=hf_config(layers=2, max_position_embeddings=1024))


@pytest.fixture(scope="module")
def reference(folder: tuple[Path, Any]) -> Reference:
    return Reference(folder[1], KosmosModel.load(folder[0], "random"))


@pytest.fixture(scope="module")
def cramped(folder: tuple[Path, Any]) -> KosmosModel:
    """The same model working in the smallest windows, passes and batches."""
    return KosmosModel.load(folder[0], "random", limits=SMALL)


def demonstrations(shots: int) -> list[Segment]:
    rng = random.Random(99)
    written: list[Segment] = []
    for i in range(shots):
        written += [PICTURES[i], Text(f" Question: {words(rng, 4)} Answer: {words(rng, 2)}")]
    return written


@st.composite
def contexts(draw: st.DrawFn) -> tuple[Segment, ...]:
    """Shared demonstrations, any images, any text: what sits before an act."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    images = [PICTURES[draw(st.integers(0, 5))] for _ in range(draw(st.integers(0, 2)))]
    text = Text(f"Question: {words(rng, draw(st.integers(1, 8)))} Answer:")
    return (*demonstrations(draw(st.sampled_from([0, 0, 2, 3]))), *images, text)


def answers(model: KosmosModel, requests: list[Request]) -> list[Response]:
    found = dict(model.run(requests))
    assert sorted(found) == list(range(len(requests)))
    assert all(r.error is None for r in found.values())
    return [found[i] for i in range(len(requests))]


def check_choices(reference: Reference, before: list[Segment], act: Score, response: Response) -> None:
    for choice, score in zip(act.choices, response.stages[-1].choices, strict=True):
        expected = reference.logprob([*before, *choice.segments], Text(choice.target))
        assert score.logprob == pytest.approx(expected, abs=1e-4)


CHOICES = (
    Choice("yes", " yes"),
    Choice("no", " no"),
    Choice("long", " no red dog sees"),
    Choice("longer", " no red dog runs"),
    Choice("picture", " Yes", (PICTURES[5], Text(" Is it good?"))),
    Choice("other", " Yes", (PICTURES[4], Text(" Is it"))),
)
chosen = st.lists(st.sampled_from(CHOICES), min_size=1, unique=True)


@few
@given(st.lists(st.tuples(contexts(), chosen), min_size=1, max_size=5))
def test_choice_scores_equal_hugging_face(
    reference: Reference, cramped: KosmosModel, drawn: list[tuple[tuple[Segment, ...], list[Choice]]]
) -> None:
    stages = [Stage("answer", context, Score(tuple(choices))) for context, choices in drawn]
    requests = [Request(str(i), (), (stage,)) for i, stage in enumerate(stages)]
    found = answers(reference.ours, requests)
    for request, response in zip(requests, found, strict=True):
        act = request.stages[0].act
        assert isinstance(act, Score)
        check_choices(reference, list(request.stages[0].segments), act, response)
    for a, b in zip(found, reversed(answers(cramped, requests[::-1])), strict=True):
        for x, y in zip(a.stages[0].choices, b.stages[0].choices, strict=True):
            assert (x.name, x.tokens) == (y.name, y.tokens)
            assert x.logprob == pytest.approx(y.logprob, abs=1e-4)


ACTS = [
    (Generate(8), {"max_new_tokens": 8}),
    (Generate(6, no_repeat_ngram=2), {"max_new_tokens": 6, "no_repeat_ngram_size": 2}),
    (Generate(7, beams=5), {"max_new_tokens": 7, "num_beams": 5}),
    (Generate(7, beams=3, length_penalty=0.0), {"max_new_tokens": 7, "num_beams": 3, "length_penalty": 0.0}),
    (Generate(7, beams=2, length_penalty=2.0), {"max_new_tokens": 7, "num_beams": 2, "length_penalty": 2.0}),
]


@few
@given(st.lists(st.tuples(contexts(), st.sampled_from(ACTS)), min_size=1, max_size=5))
def test_texts_equal_hugging_face(
    reference: Reference, cramped: KosmosModel, drawn: list[tuple[tuple[Segment, ...], tuple[Generate, dict[str, Any]]]]
) -> None:
    requests = [Request(str(i), (), (Stage("answer", context, act),)) for i, (context, (act, _)) in enumerate(drawn)]
    found = answers(reference.ours, requests)
    for (context, (_, how)), response in zip(drawn, found, strict=True):
        generated = response.stages[0].generated
        assert generated is not None
        assert list(generated.ids) == reference.generate(Prompt(*context), **how)
    assert found == answers(cramped, requests[::-1])[::-1]


def test_the_end_of_sequence_ends_texts_as_in_hugging_face(folder: tuple[Path, Any]) -> None:
    """With `</s>` made likely, rows end at different steps, beams finish early, and rows leave their batch."""
    import torch

    hf = copy.deepcopy(folder[1])
    ours = KosmosModel.load(folder[0], "random")
    rng = random.Random(3)
    prompts = [Prompt(*demonstrations(2), f"Question: {words(rng, 3 + i)} Answer:") for i in range(8)]
    free = [Request(str(i), (), (Stage("answer", p.segments, Generate(8)),)) for i, p in enumerate(prompts)]
    written = Counter(i for r in answers(ours, free) for i in set(r.stages[0].generated.ids[1:]))  # type: ignore[union-attr]
    with torch.no_grad():  # </s> takes the place of a token that is often written, but not at once
        for weight in (hf.text_model.model.embed_tokens.weight, ours.network.decoder.embed_tokens.weight):
            weight[2] = weight[written.most_common(1)[0][0]] * 1.1
    check = Reference(hf, ours)
    finishes = set()
    for act, how in ACTS:
        requests = [Request(str(i), (), (Stage("answer", p.segments, act),)) for i, p in enumerate(prompts)]
        for prompt, response in zip(prompts, answers(ours, requests), strict=True):
            generated = response.stages[0].generated
            assert generated is not None
            assert list(generated.ids) == check.generate(prompt, **how)
            finishes.add((generated.finish, len(generated.ids)))
    assert len(finishes) > 4, finishes
    assert {"eos", "length"} <= {finish for finish, _ in finishes}


@few
@given(
    st.lists(contexts(), min_size=1, max_size=4), st.sampled_from([1, 3]), st.sampled_from(["continue", "fresh"]),
    st.sampled_from(["keep", "drop"]),
)  # fmt: skip
def test_a_second_stage_sees_what_the_first_wrote(
    reference: Reference, cramped: KosmosModel, drawn: list[tuple[Segment, ...]], beams: int, context: Any, image: Any
) -> None:
    ask: tuple[Segment, ...] = (Text(" Question: what is good? Answer:"),)
    if context == "fresh":
        ask = (Output("rationale"), *ask)
    requests = [
        Request(str(i), (), (
            Stage("rationale", segments, Generate(6, beams)),
            Stage("middle", ask, Generate(3), context, image),
            Stage("answer", (Text(" Is it good?"),), Score(CHOICES)),
        )) for i, segments in enumerate(drawn)
    ]  # fmt: skip
    found = answers(reference.ours, requests)
    assert [r.stages[0] for r in found] == [r.stages[0] for r in answers(cramped, requests[::-1])[::-1]]
    for request, response in zip(requests, found, strict=True):
        outputs = {s.name: s.generated for s in response.stages if s.generated is not None}
        second = assemble(request, 1, outputs)
        assert list(outputs["middle"].ids) == reference.generate(Prompt(*second), max_new_tokens=3)
        act = request.stages[2].act
        assert isinstance(act, Score)
        check_choices(reference, assemble(request, 2, outputs), act, response)


@pytest.mark.parametrize("at", [2, 6, 10])
def test_rows_are_written_in_smaller_batches_when_memory_is_short(
    folder: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Memory runs out while slots are taken, while rows write, and after some have finished a stage."""
    import torch

    from kosmos_eval.engine.runner import Runner

    rng, shots = random.Random(1), demonstrations(2)
    requests = [
        Request(str(i), (), (
            Stage("rationale", (*shots, Text(f"Question: {words(rng, 2 + i)} Answer:")), Generate(2 + 2 * i)),
            Stage("answer", (Text(" Is it good?"),), Score(CHOICES[:2])),
        )) for i in range(4)
    ]  # fmt: skip
    expected = answers(KosmosModel.load(folder[0], "random"), requests)
    model = KosmosModel.load(folder[0], "random")
    passes, run = Counter[str](), Runner.run

    def short(self: Runner, *args: Any) -> torch.Tensor:
        passes["n"] += 1
        if passes["n"] == at:
            raise torch.OutOfMemoryError("no room")
        return run(self, *args)

    monkeypatch.setattr(Runner, "run", short)
    whole = model.engine.kv_bytes
    for a, b in zip(answers(model, requests), expected, strict=True):
        assert a.stages[0] == b.stages[0]
        for x, y in zip(a.stages[1].choices, b.stages[1].choices, strict=True):
            assert x.logprob == pytest.approx(y.logprob, abs=1e-4)
    assert model.engine.kv_bytes < whole // 2
    assert passes["n"] > at


def test_scoring_and_seeing_go_on_in_smaller_passes_when_memory_is_short(
    folder: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from kosmos_eval.engine.runner import Runner
    from kosmos_eval.kosmos.model import Kosmos

    rng, shots = random.Random(2), demonstrations(2)
    requests = [
        Request(str(i), (), (Stage("answer", (*shots, PICTURES[i], Text(words(rng, 2 + i))), Score(CHOICES[:2])),))
        for i in range(6)
    ]
    expected = answers(KosmosModel.load(folder[0], "random"), requests)
    model = KosmosModel.load(folder[0], "random")
    run, see = Runner.run, Kosmos.encode_images
    passes = Counter[str]()

    def short(self: Runner, *args: Any) -> torch.Tensor:
        passes["n"] += 1
        if passes["n"] in (2, 4):  # a pack, then a smaller one
            raise torch.OutOfMemoryError("no room")
        return run(self, *args)

    def blind(self: Kosmos, pixels: torch.Tensor) -> torch.Tensor:
        if len(pixels) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return see(self, pixels)

    monkeypatch.setattr(Runner, "run", short)
    monkeypatch.setattr(Kosmos, "encode_images", blind)
    for a, b in zip(answers(model, requests), expected, strict=True):
        for x, y in zip(a.stages[0].choices, b.stages[0].choices, strict=True):
            assert x.logprob == pytest.approx(y.logprob, abs=1e-4)
    assert model.engine.pass_tokens < Limits().pass_tokens
    assert model.engine.images.batch <= 2


def test_stop_strings_cut_the_text_and_the_context(reference: Reference) -> None:
    context = (*demonstrations(2), Text("Question: dog Answer:"))
    free = answers(reference.ours, [Request("0", (), (Stage("answer", context, Generate(12)),))])[0].stages[0].generated
    assert free is not None
    word = free.text.split()[-1]
    first = Stage("rationale", context, Generate(12, stop=(word,)))
    second = Stage("answer", (Text(" red"),), Score(CHOICES[:2]))
    response = answers(reference.ours, [Request("0", (), (first, second))])[0]
    cut = response.stages[0].generated
    assert cut is not None
    assert cut.finish == "stop"
    assert cut.text == free.text[: free.text.find(word)].rstrip()
    check_choices(reference, [*context, Tokens(cut.ids), Text(" red")], Score(CHOICES[:2]), response)


def test_nothing_is_computed_twice(folder: tuple[Path, Any]) -> None:
    model = KosmosModel.load(folder[0], "random")
    shots = demonstrations(3)
    rng = random.Random(0)
    act = Score((Choice("yes", " yes"), Choice("no", " no")))
    questions = [f"Question: {words(rng, 4)} Answer:" for _ in range(20)]
    stages = [Stage("answer", (PICTURES[5], Text(q)), act) for q in questions]
    answers(model, [Request(str(i), tuple(shots), (stage,)) for i, stage in enumerate(stages)])
    prefix = len(model.encode(Prompt(*shots, PICTURES[5])).input_ids)
    whole = [len(model.encode(Prompt(*shots, PICTURES[5], q)).input_ids) for q in questions]
    # The demonstrations and the common picture once; each question's own tokens once; candidates of one token nothing.
    assert model.engine.runner.computed <= prefix + sum(n - prefix for n in whole) + 20
    assert model.engine.images.encoded == 4


def standard_and_mcot(count: int) -> list[Request]:
    """Two prompts about the same pictures: one scores, the other writes first."""
    ask, told = Text(" Question: is it good? Answer:"), Text(" Introduce this picture:")
    requests = []
    for i in range(count):
        context = (PICTURES[i], Text("a dog sees the red house and the man"))
        answer = Stage("answer", (ask,), Score(CHOICES[:2]))
        requests.append(Request(f"standard {i}", context, (answer,)))
        requests.append(Request(f"mcot {i}", context, (Stage("rationale", (told,), Generate(3)), answer)))
    return requests


def test_prompts_that_score_and_that_write_share_what_they_have_in_common(folder: tuple[Path, Any]) -> None:
    model = KosmosModel.load(folder[0], "random")
    requests = standard_and_mcot(6)
    together = answers(model, requests)
    alone, computed = [], 0
    for request in requests:
        model_alone = KosmosModel.load(folder[0], "random")
        alone += answers(model_alone, [request])
        computed += model_alone.engine.runner.computed
    common = len(model.encode(Prompt(*requests[0].context)).input_ids)
    assert model.engine.runner.computed <= computed - 6 * (common - 1)
    for a, b in zip(together, alone, strict=True):
        assert [s.generated for s in a.stages] == [s.generated for s in b.stages]
        for x, y in zip(a.stages[-1].choices, b.stages[-1].choices, strict=True):
            assert x.logprob == pytest.approx(y.logprob, abs=1e-4)


@pytest.mark.parametrize("first", ["what", "dog"])
def test_what_scores_on_another_branch_leaves_the_path_of_what_writes_alone(
    folder: tuple[Path, Any], first: str
) -> None:
    """Rows of both kinds lie behind demonstrations of their own; those that score come first, or last."""
    model = KosmosModel.load(folder[0], "random")
    scored, written = [
        (PICTURES[0], Text(f" {word} house and the man sees the dog and the man and the red house:"))
        for word in (("what", "dog") if first == "what" else ("dog", "what"))
    ]
    requests = []
    for i in range(3):
        own = (PICTURES[i], Text(" Answer:"))
        requests.append(Request(f"score {i}", scored, (Stage("answer", own, Score(CHOICES[:2])),)))
        requests.append(Request(f"write {i}", written, (Stage("text", own, Generate(12)),)))
    together = answers(model, requests)
    for request, found in zip(requests, together, strict=True):
        (alone,) = answers(KosmosModel.load(folder[0], "random"), [request])
        assert [s.generated for s in found.stages] == [s.generated for s in alone.stages]
        for x, y in zip(found.stages[-1].choices, alone.stages[-1].choices, strict=True):
            assert x.logprob == pytest.approx(y.logprob, abs=1e-4)


def test_choices_that_are_tokenised_together_with_the_prompt_are_scored_as_they_are(
    folder: tuple[Path, Any], reference: Reference
) -> None:
    """The prompt's last token is another one with a choice behind it: no cached position of it may be used."""
    model = KosmosModel.load(folder[0], "random")
    before = [Text(" the man sees a d")]
    act = Score((Choice("og", " yes", (Text("og"),)), Choice("ogs", " no", (Text("og the"),))))
    shown, joined = (list(model.encode(Prompt(*s)).input_ids) for s in (before, [Text(" the man sees a dog")]))
    assert joined[: len(shown)] != shown, "the example is none"
    (answer,) = answers(model, [Request("joined", (), (Stage("answer", tuple(before), act),))])
    check_choices(reference, before, act, answer)
    ids = Score((Choice("x", "", (), (13,)), Choice("y", "", (), (14, 15))))
    ((_, refused),) = model.run([Request("nothing", (), (Stage("answer", (), ids),))])
    assert "do not begin with the prompt" in (refused.error or "")


def test_two_runs_of_one_model_at_once_see_their_own_pictures(folder: tuple[Path, Any]) -> None:
    model = KosmosModel.load(folder[0], "random", limits=SMALL)
    first, second = (
        [Request(f"{i}", (PICTURES[i], Text(" Answer:")), (Stage("a", (), Score(CHOICES[:2])),)) for i in places]
        for places in ((0, 1, 2, 3), (4, 5))
    )
    expected = answers(model, first)
    found = {}
    for place, answer in model.run(first):
        found[place] = answer
        answers(model, second)
    for place, alone in enumerate(expected):
        for x, y in zip(found[place].stages[-1].choices, alone.stages[-1].choices, strict=True):
            assert x.logprob == pytest.approx(y.logprob, abs=1e-4)


def test_what_scores_among_what_writes_is_scored_apart_when_memory_is_short(
    folder: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from kosmos_eval.engine.runner import Runner

    requests = standard_and_mcot(4)
    expected = answers(KosmosModel.load(folder[0], "random"), requests)
    run = Runner.run
    for at in range(1, 9):
        model, passes = KosmosModel.load(folder[0], "random"), Counter[str]()

        def short(self: Runner, *args: Any, at: int = at, passes: Counter[str] = passes) -> torch.Tensor:
            passes["n"] += 1
            if passes["n"] == at:
                raise torch.OutOfMemoryError("no room")
            return run(self, *args)

        monkeypatch.setattr(Runner, "run", short)
        for a, b in zip(answers(model, requests), expected, strict=True):
            assert [s.generated for s in a.stages] == [s.generated for s in b.stages]
            for x, y in zip(a.stages[-1].choices, b.stages[-1].choices, strict=True):
                assert x.logprob == pytest.approx(y.logprob, abs=1e-4)
        assert passes["n"] > at


def test_a_second_stage_goes_on_where_the_first_stopped(folder: tuple[Path, Any]) -> None:
    model = KosmosModel.load(folder[0], "random")
    context = (*demonstrations(2), Text("Question: dog Answer:"))
    ask = Text(" Question: what is good? Answer:")
    first, second = Stage("rationale", context, Generate(12)), Stage("answer", (ask,), Score(CHOICES[:2]))
    generated = answers(model, [Request("0", (), (first, second))])[0].stages[0].generated
    assert generated is not None
    whole = len(model.encode(Prompt(*context, Tokens(generated.ids), ask)).input_ids)
    assert model.engine.runner.computed <= whole


def test_pictures_are_known_by_their_content(reference: Reference, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    act = Score(CHOICES[:2])
    seen = []
    for image in (PICTURES[0], PICTURES[1], PICTURES[0]):
        assert image.pil is not None
        image.pil.save(path)
        request = Request("0", (), (Stage("answer", (Image.of(path), Text("dog")), act),))
        seen.append(answers(reference.ours, [request])[0])
    assert seen[0] == seen[2]
    assert seen[0].pixels != seen[1].pixels
    assert seen[0].scores != seen[1].scores


def test_logits_that_are_not_numbers_are_no_answer(folder: tuple[Path, Any]) -> None:
    import torch

    model = KosmosModel.load(folder[0], "random")
    with torch.no_grad():
        model.network.decoder.norm.weight[0] = float("nan")
    context = (Text("Question: dog Answer:"),)
    for act in (Generate(4), Generate(4, beams=3)):
        [(_, response)] = model.run([Request("0", (), (Stage("answer", context, act),))])
        assert "not numbers" in (response.error or "")
        assert response.stages == ()


def test_malformed_requests_stop_no_other(reference: Reference) -> None:
    act = Score(CHOICES[:2])
    good = Stage("answer", (Text("Question: dog Answer:"),), act)
    unknown_ids = [Tokens((0, 10**6)), Tokens((-1,))]
    malformed: list[Segment] = [Tokens(()), Text("half \ud800"), *unknown_ids, Output("nothing"), Tag("<no>")]
    stages = [good, *(Stage("answer", (segment,), act) for segment in malformed), good]
    found = dict(reference.ours.run([Request(str(i), (), (stage,)) for i, stage in enumerate(stages)]))
    assert [bool(found[i].error) for i in range(len(stages))] == [False, *([True] * len(malformed)), False]
    assert found[0].scores == found[len(stages) - 1].scores


def test_a_text_that_grows_when_it_is_read_again_is_refused_by_name(folder: tuple[Path, Any]) -> None:
    """A fresh stage turns generated tags to text, of more tokens than was allowed for."""
    model = KosmosModel.load(folder[0], "random")
    model.processor.positions = 140
    stages = (
        Stage("rationale", (PICTURES[0], Text("dog")), Generate(30)),
        Stage("answer", (Output("rationale"), Text(" dog")), Score(CHOICES[:2]), "fresh", "drop"),
    )
    tags = " ".join(f"<patch_index_{i:04d}>" for i in range(30))
    model.engine.processor.tokenizer.decode = lambda ids: tags  # type: ignore[method-assign]
    short = Request("short", (), (Stage("answer", (Text("dog"),), Score(CHOICES[:2])),))
    found = dict(model.run([Request("long", (), stages), short]))
    assert not found[0].fits
    assert "'long'" in (found[0].error or "")
    assert found[1].error is None


def test_a_bad_request_stops_no_other(reference: Reference, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG not really")
    act = Score((Choice("yes", " yes"), Choice("no", " no")))
    good = Request("good", (), (Stage("answer", (Text("Question: dog Answer:"),), act),))
    bad = Request("bad", (), (Stage("answer", (Image.of(broken), Text("Question: dog Answer:")), act),))
    long = Request("long", (), (Stage("answer", (Text("dog " * 1100),), act),))
    found = dict(reference.ours.run([bad, good, long, good]))
    assert found[1].error is None
    assert found[1].stages == found[3].stages
    assert "broken.png" in (found[0].error or "")
    assert found[0].fits
    assert not found[2].fits
    assert "'long'" in (found[2].error or "")
