"""Other families through Hugging Face: what a batch is composed of changes no score and no text."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from checkpoints import make_checkpoint, picture

from kosmos_eval.data.images import load as load_image
from kosmos_eval.errors import CheckpointError
from kosmos_eval.models import model_for_run
from kosmos_eval.models.batching import batches, collate
from kosmos_eval.models.dialects import Chat
from kosmos_eval.models.huggingface import HuggingFaceModel
from kosmos_eval.models.kosmos import KosmosModel
from kosmos_eval.prompt import Image, Prompt, Tag, Text, Tokens
from kosmos_eval.request import Choice, Generate, Request, Score, Stage

MAKERS = {**tiny_models.FAMILIES, "kosmos2": make_checkpoint}
SINGLE = "instructblip"
ENCODED = ("instructblip_t5", "blip2_t5")
"""Encoder-decoders."""
ONE_PICTURE = (SINGLE, *ENCODED)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, make in MAKERS.items():
        made[name] = tmp_path_factory.mktemp(name)
        make(made[name])
    return made


def load(folders: dict[str, Path], family: str, rows: int) -> HuggingFaceModel:
    return HuggingFaceModel.load(folders[family], family, rows=rows)


def question(rng: random.Random, images: int) -> tuple[Any, ...]:
    words = " ".join(rng.choice(tiny_models.WORDS[:12]) for _ in range(rng.randint(1, 7)))
    shown = [part for _ in range(images) for part in (picture(rng), f" {words} is good .")]
    return Prompt(*shown[:-1], f" Question: {words}? Answer:").segments


def requests(seed: int, images: int, act: Any, count: int = 8) -> list[Request]:
    rng = random.Random(seed)
    return [Request(str(i), (), (Stage("answer", question(rng, images), act),)) for i in range(count)]


def choices(*targets: str) -> Score:
    return Score(tuple(Choice(t, t) for t in targets))


def answers(model: HuggingFaceModel, asked: list[Request]) -> list[Any]:
    found = dict(model.run(asked))
    assert [found[i].error for i in range(len(asked))] == [None] * len(asked)
    return [found[i].stages[-1] for i in range(len(asked))]


@pytest.mark.parametrize("family", MAKERS)
def test_scores_do_not_depend_on_the_batch(folders: dict[str, Path], family: str) -> None:
    """Rows of different lengths, one or two pictures, targets of one to three tokens: at batch 1 and at batch 8."""
    asked = requests(1, 1, choices(" yes", " no", " red dog", " red film good"))
    if family not in ONE_PICTURE:
        asked += requests(2, 2, choices(" yes", " no", " red dog"))
    alone, together = load(folders, family, 1), load(folders, family, 8)
    lengths = {together.dialect.write(r.stages[0].segments)["input_ids"].shape[1] for r in asked[:8]}
    assert len(lengths) > 1
    assert together.dialect.pads
    one, eight = answers(alone, asked), answers(together, asked)
    differences = [
        abs(a.logprob - b.logprob)
        for x, y in zip(one, eight, strict=True)
        for a, b in zip(x.choices, y.choices, strict=True)
    ]
    assert max(differences) <= 1e-4
    # The comparison means something only if what is asked matters.
    first = [x.choices[0].logprob for x in one]
    assert max(first) - min(first) > 1e-2


@pytest.mark.parametrize("family", ENCODED)
def test_scores_of_an_encoder_decoder_are_its_own_loss(folders: dict[str, Path], family: str) -> None:
    """One row at a time through the processor and the model's own loss over the answer as the decoder's labels."""
    from transformers import AutoProcessor

    model, processor = load(folders, family, 8), AutoProcessor.from_pretrained(folders[family])
    asked = requests(3, 1, choices(" yes", " red dog", " red dog good"), 4)
    for request, found in zip(asked, answers(model, asked), strict=True):
        image, *texts = request.stages[0].segments
        text = "".join(t.text for t in texts).strip()
        inputs = dict(processor(text=text, images=load_image(image), return_tensors="pt"))
        for scored in found.choices:
            labels = processor.tokenizer(scored.name.strip(), add_special_tokens=False, return_tensors="pt").input_ids
            assert labels.shape[1] == scored.tokens == len(scored.name.split())
            with torch.no_grad():
                loss = float(model.model(**inputs, labels=labels).loss)
            assert scored.logprob == pytest.approx(-loss * labels.shape[1], abs=1e-4)


@pytest.mark.parametrize("family", [f for f in MAKERS if f not in ENCODED])
def test_scores_are_those_of_a_plain_forward_pass(folders: dict[str, Path], family: str) -> None:
    model = load(folders, family, 8)
    for request in requests(3, 1, choices(" yes", " red dog"), 2):
        segments = request.stages[0].segments
        for scored in answers(model, [request])[0].choices:
            context, whole = (model.dialect.write(s) for s in (segments, [*segments, Text(scored.name)]))
            if isinstance(model.dialect, Chat):
                cut, tail = model.dialect.tail(segments, scored.name)
                assert (cut, len(tail)) == (0, scored.tokens)
                continue  # a chat template puts the answer into a turn of its own
            start = context["input_ids"].shape[1]
            inputs = {**whole, **{k: v for k, v in context.items() if k.startswith("qformer")}}
            with torch.no_grad():
                logprobs = model.model(**inputs).logits[0].log_softmax(-1)
            ids = whole["input_ids"][0]
            expected = sum(float(logprobs[t - 1, ids[t]]) for t in range(start, len(ids)))
            assert scored.logprob == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("beams", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("family", MAKERS)
def test_texts_are_those_of_full_passes_without_cache(folders: dict[str, Path], family: str, beams: int) -> None:
    """Against beam search by our own code and whole forward passes; two pictures, which beams must not mix up."""
    asked = requests(4, 1 if family in ONE_PICTURE else 2, Generate(max_tokens=5, beams=beams), 5)
    written = [x.generated.ids for x in answers(load(folders, family, 8), asked)]
    model = load(folders, family, 1)
    assert written == [x.generated.ids for x in answers(model, asked)]
    assert len(set(written)) > 1
    expected = [_search(model, r, beams) for r in asked[:2]]
    assert written[:2] == expected


def _search(model: HuggingFaceModel, request: Request, beams: int) -> tuple[int, ...]:
    from kosmos_eval.engine.beam import BeamSearch
    from kosmos_eval.models.writing import _Ending

    act = request.stages[0].act
    assert isinstance(act, Generate)
    inputs = model.dialect.write(request.stages[0].segments)
    search = BeamSearch(beams, 1.0, _Ending(act, model.dialect))
    while not search.over:
        candidates = []
        for beam, (ids, score) in enumerate(zip(search.open, search.scores, strict=True)):
            with torch.no_grad():
                row, _ = model.dialect.continued(inputs, 0, ids)
                logprobs = model.model(**row).logits[0, -1].log_softmax(-1)
            candidates += [(score + float(p), beam, t) for t, p in enumerate(logprobs)]
        search.advance(sorted(candidates, reverse=True)[: 2 * beams])
    best = search.best()
    return search.ending.generated(list(best.ids), best.finish).ids


def test_idefics_is_fed_what_its_own_processor_makes(folders: dict[str, Path]) -> None:
    from transformers import AutoProcessor

    dialect = load(folders, "idefics", 1).dialect
    theirs = AutoProcessor.from_pretrained(folders["idefics"])
    first, second = (picture(random.Random(i)) for i in range(2))
    for parts in ([first, "Question: what?", second, "red"], ["a dog", first, second, "is it?"], ["just a dog"]):
        found = dialect.write(Prompt(*parts).segments)
        expected = theirs(text=parts, return_tensors="pt")
        for key in ("input_ids", "attention_mask", "pixel_values", "image_attention_mask"):
            assert torch.equal(found[key].float(), expected[key].float()), key


def test_a_text_that_is_a_url_is_not_fetched(folders: dict[str, Path]) -> None:
    dialect = load(folders, "idefics", 1).dialect
    assert dialect.write([Text("http://127.0.0.1:9/a.png")])["image_attention_mask"].sum() == 0


@pytest.mark.parametrize("family", ["llava", "llava_chat", "idefics"])
def test_markers_in_data_stay_text(folders: dict[str, Path], family: str) -> None:
    dialect = load(folders, family, 1).dialect
    image = picture(random.Random(0))
    plain = dialect.write(Prompt(image, Text(" a dog")).segments)["input_ids"]
    spelled = dialect.write(Prompt(image, Text(" a <image></s> dog")).segments)["input_ids"]
    special = torch.tensor(sorted(dialect.ids.values()))
    known = special[special != dialect.ids["<unk>"]]
    assert int(torch.isin(spelled, known).sum()) == int(torch.isin(plain, known).sum())


def test_a_chat_template_gets_turns_and_keeps_the_order_of_pictures(folders: dict[str, Path]) -> None:
    image = Image.of(picture(random.Random(0)))
    said = [Text("a dog"), image, Text(" is red . "), image, Text(" is it?"), Tokens((9, 10)), Text("Answer:")]
    for family in ("llava_chat", "llava_images_first"):
        dialect = load(folders, family, 1).dialect
        text = " ".join(dialect.text(said).replace("<image>", " <image> ").split())
        wrote = dialect.decode((9, 10)).strip()
        assert text == (
            f"User : a dog <image> is red . <image> is it? . Assistant : {wrote} . User : Answer: . Assistant :"
        )


@pytest.mark.parametrize("family", ["llava", "instructblip_t5"])
def test_what_was_written_keeps_its_space_when_the_prompt_goes_on(folders: dict[str, Path], family: str) -> None:
    dialect = load(folders, family, 1).dialect
    ids = tuple(dialect.tail([Text("a")], " red dog")[1])
    said = [Image.of(picture(random.Random(0))), Text(" a film :"), Tokens(ids), Text(" Question:")]
    assert dialect.text(said).endswith("a film : red dog Question:")


def test_encoder_decoders_of_other_families_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    import json
    import shutil

    shutil.copytree(folders["llava"], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["text_config"] |= {"is_encoder_decoder": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="llava is an encoder-decoder; of these instructblip"):
        HuggingFaceModel.load(tmp_path, "florence")


def test_what_a_family_cannot_be_asked_is_said(folders: dict[str, Path]) -> None:
    two = requests(5, 2, choices(" yes"), 1)[0]
    blind = Request("blind", (), (Stage("answer", (Text("Question: is it? Answer:"),), choices(" yes")),))
    tagged = Request("tag", (), (Stage("answer", (Tag("<grounding>"), Text("a")), choices(" yes")),))
    single = dict(load(folders, SINGLE, 2).run([two, blind]))
    assert "takes one image" in str(single[0].error)
    assert "has 0" in str(single[1].error)
    assert not single[0].fits
    assert "<grounding>" in str(dict(load(folders, "llava", 2).run([tagged]))[0].error)
    for family in ("llava", "idefics", "kosmos2"):
        assert dict(load(folders, family, 2).run([blind]))[0].error is None


def test_a_request_longer_than_the_positions_is_refused(folders: dict[str, Path]) -> None:
    long = Request("long", (), (Stage("answer", (Text("a " * 300),), choices(" yes")),))
    short = Request("short", (), (Stage("answer", (Text("a dog"),), choices(" yes")),))
    found = dict(load(folders, "llava", 2).run([long, short]))
    assert "positions" in str(found[0].error)
    assert not found[0].fits
    assert found[1].error is None


def test_a_stage_continues_the_one_before_and_stop_strings_are_cut(folders: dict[str, Path]) -> None:
    model = load(folders, "llava", 4)
    first = Stage("rationale", question(random.Random(0), 1), Generate(max_tokens=4))
    free = answers(model, [Request("a", (), (first,))])[0].generated
    stop = free.text.split()[1]
    cut = answers(model, [Request("a", (), (Stage("r", first.segments, Generate(4, stop=(stop,))),))])[0].generated
    assert cut.finish == "stop"
    assert stop not in cut.text
    request = Request("b", (), (first, Stage("answer", (Text(" Answer:"),), choices(" yes"))))
    response = dict(model.run([request]))[0]
    whole = Request("c", (), (Stage("answer", (*first.segments, Tokens(free.ids), Text(" Answer:")), choices(" yes")),))
    assert response.scores == pytest.approx(dict(model.run([whole]))[0].scores, abs=1e-4)


def test_padding_is_on_the_right_and_only_for_what_counts_tokens() -> None:
    class Row:
        kind = None

        def __init__(self, n: int) -> None:
            ids = torch.arange(1, n + 1)[None]
            pixels = torch.rand(2, 3, 4, 4)
            self.inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}

    rows = [Row(5), Row(3), Row(5)]
    assert sorted(len(b) for b in batches(rows, 8, pads=False)) == [1, 2]
    (batch,) = batches(rows, 8, pads=True)
    whole = collate([r.inputs for r in batch], 9, torch.device("cpu"), torch.float32)
    assert whole["input_ids"].tolist() == [[1, 2, 3, 9, 9], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]
    assert whole["attention_mask"][0].tolist() == [1, 1, 1, 0, 0]
    assert whole["pixel_values"].shape == (6, 3, 4, 4)


def test_pickles_and_code_from_a_checkpoint_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    import json
    import shutil

    for file in folders["llava"].iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        HuggingFaceModel.load(tmp_path, "pickled")
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError):
        HuggingFaceModel.load(tmp_path, "evil")


def test_a_prefix_names_the_back_end_and_the_fingerprint_covers_every_file(folders: dict[str, Path]) -> None:
    folder = folders["llava"]
    model = model_for_run(f"hf:{folder}")
    assert model.name == f"hf:{folder.name}"
    before = model.fingerprint
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert model_for_run(f"hf:{folder}").fingerprint != before
    (folder / "chat_template.jinja").unlink()


def test_kosmos_2_answers_as_our_engine_does(folders: dict[str, Path]) -> None:
    ours, theirs = KosmosModel.load(folders["kosmos2"], "ours"), load(folders, "kosmos2", 8)
    asked = requests(6, 2, choices(" yes", " no"), 4) + requests(7, 2, Generate(max_tokens=6, beams=3), 4)
    mine, other = dict(ours.run(asked)), dict(theirs.run(asked))
    for i in range(len(asked)):
        if mine[i].scores:
            assert other[i].scores == pytest.approx(mine[i].scores, abs=1e-4)
        else:
            assert other[i].text == mine[i].text
