"""The training recipe of kosmos-mini: it trains on what the checkpoint's readers are fed, and can be resumed."""

from __future__ import annotations

import itertools
import json
import os
import random
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from kosmos_eval.data.mini import vqav2
from kosmos_eval.data.mini.icons import NICE
from kosmos_eval.data.mini.matrices import name_panel
from kosmos_eval.data.mini.questions import random_questions
from kosmos_eval.data.mini.seeding import belongs_to_eval
from kosmos_eval.data.render_text import render_text
from kosmos_eval.errors import DataError
from kosmos_eval.kosmos.decoder import CausalAttention, Decoder
from kosmos_eval.kosmos.weights import load_network
from kosmos_eval.mini import stage_decode, stage_dense
from kosmos_eval.mini.batches import collate, embed
from kosmos_eval.mini.config import Recipe
from kosmos_eval.mini.decoder_init import init_decoder
from kosmos_eval.mini.dense_labels import CONTEXT, Labels, label_text, place_of
from kosmos_eval.mini.export import write_checkpoint
from kosmos_eval.mini.fast import decode, encode_patches, resample
from kosmos_eval.mini.pictures import normalise, shrink
from kosmos_eval.mini.pools import Pool
from kosmos_eval.mini.raven import matrix_script
from kosmos_eval.mini.scripts import End, Picture, Words, build_row
from kosmos_eval.mini.sentences import Corpus, Labelled
from kosmos_eval.mini.skills import SKILLS, Draw, Stock, _found, judge_account
from kosmos_eval.mini.tokenizer import ALPHABET, EOS, build_tokenizer
from kosmos_eval.mini.train import STAGES, new_bench, run_stage
from kosmos_eval.mini.word_scores import meme_scores
from kosmos_eval.mini.workers import average_gradients, join, leave
from kosmos_eval.models.locate import BUNDLED, bundled

TINY = {
    "seed": 3,
    "network": {"vision_width": 64, "vision_layers": 2, "vision_heads": 2, "text_width": 64, "text_layers": 3,
                "text_heads": 2, "positions": 2048},
    "patches": {"schedule": {"steps": 2}, "mix": {"page": 1, "scene": 1}},
    "tokens": {"schedule": {"steps": 2}, "mix": {"page": 1, "meme": 1}},
    "decode": {
        "schedule": {"steps": 3}, "token_budget": 600, "pool": 4, "refresh": 2, "refresh_every": 2,
        "skills": {"transcribe": [[0, 1.0]], "ask_scene": [[0, 1.0]], "with_shots": [[1, 1.0]]},
    },
    "log_every": 1,
    "save_minutes": 0.0,
}  # fmt: skip
CORPUS = Corpus(
    sentences=[Labelled("a fine day at the mill .", "positive"), Labelled("the soup was cold again .", "negative")],
    phrases=[Labelled("fine day", "positive"), Labelled("cold again", "negative")],
    monitor=[],
)


def _some_panels(panels: object, count: int) -> None:
    """Stands for the drawing of 400 panels; none of them is nothing to encode."""
    assert count > 0


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr("kosmos_eval.mini.resampler_init._BATCHES", 1)
    monkeypatch.setattr("kosmos_eval.mini.stage_decode._RESCALED_ON", 2)
    monkeypatch.setattr("kosmos_eval.mini.pools.Panels.renew", _some_panels)
    return Recipe.model_validate(TINY)


def _trained(recipe: Recipe, out: Path) -> dict[str, torch.Tensor]:
    bench = new_bench(recipe, out)
    for stage in STAGES:
        run_stage(bench, stage, CORPUS)
    return bench.network.state_dict()


def test_the_tokenizer_gives_back_what_it_was_given() -> None:
    tokenizer = build_tokenizer()
    for text in ("Question: is it (really) so?", "a café , they said -- twice !", "sentimental pictures and No other"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids) == text
    spelled = tokenizer.encode("the plot thickens .", add_special_tokens=False).tokens
    assert "".join(spelled) == "▁the▁plot▁thickens▁."
    assert all(len(piece) == 1 for piece in spelled)


def test_labels_hold_the_text_in_the_order_of_the_image_tokens() -> None:
    page, labels = render_text("a quiet film , and a long one that wraps over two lines at least"), Labels()
    label_text(labels, page.chars, page.image.width)
    own = labels.token_chars[:, CONTEXT:]
    assert "".join(ALPHABET[c] for c in own[own >= 0]) == "".join(c[0] for c in page.chars).replace(" ", "▁")


def test_a_row_points_at_the_image_token_of_each_character() -> None:
    page, labels = render_text("two words"), Labels()
    label_text(labels, page.chars, page.image.width)
    words = Words(" two words", 1.0, labels.places)
    row = build_row([Picture(torch.zeros(64, 8)), Words(" Introduce this picture in detail:"), words, End()])
    start = row.pictures[0][0]
    assert row.ids[-1] == EOS
    assert [target - start for _, target in row.ahead] == [labels.places[0].token, *(p.token for p in labels.places)]
    assert [target - start for _, target in row.here] == [p.token for p in labels.places]


def test_an_answer_points_at_the_object_that_was_asked_about() -> None:
    asked = 0
    for index in range(40):
        scene = vqav2.scene_of("train", 10_000 + index)
        for question in random_questions(random.Random(index), scene, 3):
            if question.about is None:
                continue
            asked += 1
            place = place_of(question.about)
            told = {question.about.colour, question.about.shape, question.about.position, "yes", "no"}
            assert question.answer in told or question.about.shape in question.answer
            row = build_row([Picture(torch.zeros(64, 8)), Words(f" {question.text} Answer:"), _found(question), End()])
            prompt = build_row([Picture(torch.zeros(64, 8)), Words(f" {question.text} Answer:")])
            assert row.ahead[0] == (len(prompt.ids) - 1, row.pictures[0][0] + place.token)
    assert asked > 40


def test_words_of_a_meme_tell_its_stance_and_accounts_keep_off_the_eval_texts() -> None:
    scores = meme_scores()
    stock = cast(Stock, SimpleNamespace(meme_scores=scores))
    draws = [judge_account(Draw(random.Random(seed), stock, 330)) for seed in range(300)]
    right = 0
    for parts in draws:
        account, answer = (part.text for part in parts if isinstance(part, Words) and part.weight)
        kind, _, text = account.strip(" .").partition(". the text says: ")
        assert not belongs_to_eval(text)
        nice = kind.split(" ", 4)[-1] in NICE
        like = sum(scores.get(word, 0.0) for word in f"{text}.".split()) > 0
        right += (answer == " yes") == (nice != like)
        row = build_row(parts)
        (question, _, nice_side), (_, _, like_side) = row.sides
        sides = (nice_side, like_side)
        assert row.weights[question] == 0 < row.weights[question + 1]
        assert (answer == " yes") == (sides[0] != sides[1])
        assert sides[0] == nice
    assert right > 290


def test_a_matrix_is_read_panel_by_panel_and_its_verdict_rests_on_what_is_right_of_the_candidate() -> None:
    every = list(itertools.product(range(5), range(4), range(5), range(4)))
    panels = {panel: torch.tensor([number]) for number, panel in enumerate(every)}
    accounts = verdicts = 0
    for seed in range(150):
        parts = matrix_script(random.Random(seed), panels)
        row, words = build_row(parts), [part for part in parts if isinstance(part, Words)]
        named = [(part.picture, part.text.strip(" .;").split(": ")[-1]) for part in words if part.places]
        shown = [every[int(embeds)] for _, embeds in row.pictures]
        assert all(name_panel(shown[picture]) == name for picture, name in named)
        accounts += bool(named)
        if row.sides:
            verdicts += 1
            assert (words[-1].text == " Yes") == all(bit for _, _, bit in row.sides)
            for missing in (part.text.strip(" .").partition(": ")[2] for part in words if " missing: " in part.text):
                assert (words[-1].text == " Yes") == (name_panel(shown[-1]) == missing)
            assert all(row.weights[asked] == 0 < row.weights[asked + 1] for asked, _, _ in row.sides)
        for _, source in row.here:
            assert any(start <= source < start + 64 for start, _ in row.pictures)
    assert accounts > 30
    assert verdicts > 30


def test_without_language_every_example_shows_a_picture_and_a_new_decoder_forgets_the_old_one(
    recipe: Recipe,
) -> None:
    panels = {panel: torch.zeros(1) for panel in itertools.product(range(5), range(4), range(5), range(4))}
    meme = SimpleNamespace(text="so fine", places=[], rationale="a. the text says: so fine.", nice=True, stance="like")
    memes = SimpleNamespace(draw=lambda rng: (meme, torch.zeros(1)))
    pools = {"memes": memes, "panels": SimpleNamespace(embeds=panels)}
    stock = cast(Stock, SimpleNamespace(**pools, meme_scores={}, language=False))
    for skill in ("judge_matrix", "judge_meme"):
        drawn = [SKILLS[skill](Draw(random.Random(seed), stock, 330)) for seed in range(60)]
        assert all(any(isinstance(part, Picture) for part in parts) for parts in drawn)
    decode = recipe.decode.model_copy(update={"language": False, "skills": {"judge_text": [(0, 1.0)]}})
    with pytest.raises(DataError, match="judge_text"):
        stage_decode.check_skills(decode)
    decoders = []
    for seed in (1, 2):
        decoder = Decoder(recipe.network.build().text)
        for parameter in decoder.parameters():
            nn.init.constant_(parameter, float(seed))
        torch.manual_seed(0)
        init_decoder(decoder)
        decoders.append(decoder.state_dict())
    assert all(torch.equal(decoders[0][name], decoders[1][name]) for name in decoders[0])


def test_training_computes_what_the_network_computes(recipe: Recipe, tmp_path: Path) -> None:
    network = new_bench(recipe, tmp_path).network.eval()
    pixels = normalise([shrink(render_text("same picture").image)])
    with torch.no_grad():
        embeds = resample(network.resampler, encode_patches(network.vision, pixels))[0]
        assert torch.allclose(embeds, network.encode_images(pixels), atol=1e-5)
        batch = collate([build_row([Picture(embeds[0]), Words(" Answer: so")])], 64, torch.device("cpu"), [0])
        inputs = embed(network.decoder.embed_tokens.weight, batch)
        hidden = network.decoder(inputs, batch.index, CausalAttention())
        assert torch.allclose(decode(network.decoder, inputs, batch.index).hidden, hidden, atol=1e-4)


def test_every_stage_runs_and_goes_on_where_it_stopped(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    whole = _trained(recipe, tmp_path / "whole")
    for module, name in ((stage_dense, "dense_batch"), (stage_decode, "draw_rows")):
        real, calls = getattr(module, name), []

        def fails_once(*given: object, real=real, calls=calls):  # type: ignore[no-untyped-def]
            calls.append(1)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return real(*given)

        monkeypatch.setattr(module, name, fails_once)
        with pytest.raises(KeyboardInterrupt):
            _trained(recipe, tmp_path / "stopped")
    again = _trained(recipe, tmp_path / "stopped")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert {row["stage"] for row in rows} == set(STAGES)


def test_a_run_goes_on_from_an_exported_checkpoint(recipe: Recipe, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    write_checkpoint(new_bench(recipe, tmp_path / "first").network, checkpoint)
    heads_only = recipe.tokens.model_copy(update={"heads_first": 2})
    bench = new_bench(recipe.model_copy(update={"tokens": heads_only}), tmp_path / "again", start=checkpoint)
    run_stage(bench, "tokens", CORPUS)
    # No head start is given again, and heads that know nothing yet lead nothing astray.
    exported = load_network(checkpoint).resampler.state_dict()
    assert all(torch.equal(exported[name], tensor) for name, tensor in bench.network.resampler.state_dict().items())


@pytest.mark.parametrize(("vision_lr", "skill"), [(0.0, "transcribe"), (0.5, "transcribe"), (0.5, "see")])
def test_vision_learns_along_only_where_the_recipe_says_so(
    recipe: Recipe, tmp_path: Path, vision_lr: float, skill: str
) -> None:
    checkpoint = tmp_path / "checkpoint"
    write_checkpoint(new_bench(recipe, tmp_path / "first").network, checkpoint)
    skills = {skill: [(0, 1.0)]}
    decode_stage = recipe.decode.model_copy(update={"vision_lr": vision_lr, "heads_first": 1, "skills": skills})
    bench = new_bench(recipe.model_copy(update={"decode": decode_stage}), tmp_path / "again", start=checkpoint)
    before = {name: weight.clone() for name, weight in bench.network.vision.state_dict().items()}
    run_stage(bench, "decode", CORPUS)
    same = all(torch.equal(before[name], weight) for name, weight in bench.network.vision.state_dict().items())
    assert same == (vision_lr == 0)
    run_stage(bench, "decode", CORPUS)  # finished: read back whole, heads of both kinds included


@pytest.mark.parametrize(("skill", "said"), [("transcirbe", "transcirbe"), ("see", "vision_lr")])
def test_a_skill_that_cannot_be_taught_is_an_error(recipe: Recipe, tmp_path: Path, skill: str, said: str) -> None:
    stage = recipe.decode.model_copy(update={"skills": {skill: [(0, 1.0)]}})
    with pytest.raises(DataError, match=said):
        run_stage(new_bench(recipe.model_copy(update={"decode": stage}), tmp_path), "decode", CORPUS)


def _work(worker: int, port: int, folder: Path) -> None:
    """One of two workers: a gradient of both, one of the second alone, and none."""
    os.environ |= {"RANK": str(worker), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    assert join() == (worker, 2)
    both, one, none = (torch.nn.Parameter(torch.zeros(2, 3)) for _ in range(3))
    both.grad = torch.full((2, 3), 1.0 + 2 * worker)
    one.grad = torch.arange(6.0).view(2, 3) if worker else None
    average_gradients([both, one, none], 2)
    torch.save([both.grad, one.grad, none.grad], folder / f"{worker}.pt")
    leave()


def test_workers_step_on_the_mean_of_their_gradients(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_work, (port, tmp_path), nprocs=2)
    for worker in range(2):
        both, one, none = torch.load(tmp_path / f"{worker}.pt")
        assert torch.equal(both, torch.full((2, 3), 2.0))
        assert torch.equal(one, torch.arange(6.0).view(2, 3) / 2)
        assert none is None


def test_workers_draw_examples_of_their_own_and_the_first_alone_writes(recipe: Recipe, tmp_path: Path) -> None:
    first, second = (replace(new_bench(recipe, tmp_path / "run"), worker=n, workers=2) for n in range(2))
    assert first.stream("decode", 7).random() != second.stream("decode", 7).random()
    pools = [Pool(bench, "pages", 4, lambda rng: (rng.random(), np.zeros((224, 224, 3), np.uint8))) for bench in
             (first, second)]  # fmt: skip
    for pool in pools:
        pool.fill()
    assert not set(pools[0].items) & set(pools[1].items)
    second.log("decode", 1, loss=1.0)
    second.save("decode", 1, first.network, torch.optim.AdamW(first.network.parameters()))
    assert not list((tmp_path / "run").iterdir())
    assert not second.due()


def _agrees_with_hugging_face(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    processor = transformers.AutoProcessor.from_pretrained(folder)
    model = transformers.Kosmos2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    assert model.config.text_config.vocab_size == len(processor.tokenizer)
    image = render_text("read this").image
    prompt = " Introduce this picture in detail: read this Question: what is the sentiment of the opinion? Answer:"
    fed = processor(text=prompt, images=image, return_tensors="pt")
    row = build_row([Picture(torch.zeros(64, 8)), Words(prompt)])
    assert fed["input_ids"][0].tolist() == row.ids
    assert torch.equal(fed["pixel_values"], normalise([shrink(image)]))
    network = load_network(folder)
    with torch.no_grad():
        mask = torch.as_tensor(fed["image_embeds_position_mask"]).bool()
        ours = network(fed["input_ids"], mask, fed["pixel_values"])
        assert torch.allclose(model(**fed).logits, ours, atol=1e-3, rtol=1e-4)


def test_hugging_face_reads_what_is_exported(recipe: Recipe, tmp_path: Path) -> None:
    write_checkpoint(new_bench(recipe, tmp_path / "run").network, tmp_path / "checkpoint")
    _agrees_with_hugging_face(tmp_path / "checkpoint")


@pytest.mark.parametrize("name", BUNDLED)
def test_hugging_face_reads_the_bundled_checkpoints(name: str) -> None:
    _agrees_with_hugging_face(bundled(name))


def test_the_bundled_checkpoints_are_small() -> None:
    sizes = [sum(file.stat().st_size for file in bundled(name).iterdir()) for name in BUNDLED]
    assert sizes[0] < 40e6
    assert sum(sizes) < 60e6


def test_an_unreadable_picture_does_not_change_size() -> None:
    assert shrink(Image.new("RGB", (300, 200))).shape == (224, 224, 3)
