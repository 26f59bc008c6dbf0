"""The network and its processor against Hugging Face's Kosmos2, the reference at batch 1."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import Reference, hf_config, make_checkpoint, picture, random_hf, save_processor, words
from PIL import Image
from shared_data import shared

from kosmos_eval.errors import CheckpointError, KosmosEvalError
from kosmos_eval.kosmos.processor import Processor
from kosmos_eval.kosmos.weights import load_network, save_network
from kosmos_eval.models.kosmos import KosmosModel
from kosmos_eval.prompt import Image as SourceImage
from kosmos_eval.prompt import Prompt, Text, Tokens


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("checkpoint")
    return folder, make_checkpoint(folder, seed=1)


@pytest.fixture(scope="module")
def reference(checkpoint: tuple[Path, Any]) -> Reference:
    folder, hf = checkpoint
    return Reference(hf, KosmosModel.load(folder, "random"))


def tolerance(logits: torch.Tensor) -> float:
    return max(1e-4, 3e-5 * float(logits.abs().max()))


@pytest.mark.parametrize("images", [0, 1, 5])
def test_logits_equal_hugging_face(reference: Reference, images: int) -> None:
    rng = random.Random(images)
    parts: list[Any] = [words(rng, 3)]
    for _ in range(images):
        parts += [picture(rng), words(rng, rng.randint(0, 4))]
    prompt = Prompt(*parts, " Question: is it red? Answer:")
    ours, theirs = reference.ours.forward_logits(prompt), reference.logits(prompt)
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance(theirs)
    # The comparison means something only if what comes before matters.
    other = reference.ours.forward_logits(Prompt("green", *parts[1:], " Question: is it red? Answer:"))
    assert (other[-1] - ours[-1]).abs().max() > 100 * (ours - theirs).abs().max()
    if images:
        changed = [Image.new("RGB", (40, 40)) if p is parts[1] else p for p in parts]
        unlike = reference.ours.forward_logits(Prompt(*changed, " Question: is it red? Answer:"))
        assert (unlike[-1] - ours[-1]).abs().max() > max(1e-3, 100 * (ours - theirs).abs().max())


def test_ids_and_pixels_equal_hugging_face(checkpoint: tuple[Path, Any]) -> None:
    from transformers import AutoProcessor

    folder, _ = checkpoint
    theirs, ours = AutoProcessor.from_pretrained(folder), KosmosModel.load(folder, "random")
    image = picture(random.Random(0)).resize((97, 51))
    texts = ["an image of", " Question: what is red?  Answer:", "<grounding>an image", "é ½\n a "]
    for text in [*texts, "a<phrase> dog</phrase> sees"]:
        expected = theirs(text=text, images=image, return_tensors="pt")
        found = ours.encode(Prompt(image, text))
        assert found.input_ids.tolist() == expected.input_ids[0].tolist()
        assert found.image_mask.tolist() == expected.image_embeds_position_mask[0].bool().tolist()
        assert torch.equal(found.pixel_values, expected.pixel_values)
        assert ours.encode(Prompt(text)).input_ids.tolist() == list(theirs(text=text).input_ids)


def test_released_tokenizer_gives_the_published_ids(tmp_path: Path) -> None:
    """Ids of kosmos-facts for KOSMOS-2's SentencePiece model, through a tokenizer.json made from it."""
    path = shared("kosmos2_tokenizer/sentencepiece.bpe.model")
    pb = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")
    from transformers import Kosmos2Config, Kosmos2Processor, XLMRobertaTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    model = pb.ModelProto()
    model.ParseFromString(path.read_bytes())
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab += [(p.piece, p.score) for p in model.pieces[3:]] + [("<mask>", 0.0)]
    charsmap = model.normalizer_spec.precompiled_charsmap
    tokenizer = XLMRobertaTokenizer(vocab=vocab, _spm_precompiled_charsmap=charsmap)
    Kosmos2Processor(CLIPImageProcessorPil(use_square_size=True), tokenizer).save_pretrained(tmp_path)
    Kosmos2Config().save_pretrained(tmp_path)
    processor = Processor.load(tmp_path)
    assert len(processor.tokenizer) == 65037
    assert [processor.tokenizer.tag(t) for t in ("<image>", "</image>", "<grounding>")] == [64003, 64004, 64012]
    ids = processor.encode(Prompt(picture(random.Random(0)), "An image of").segments).ids
    assert ids == (0, 64003, *range(4, 68), 64004, 712, 1648, 9)
    answers = {" positive": 1278, " negative": 2207, " yes": 2141, " no": 104, " Yes": 1544, " No": 337}
    for answer, expected in answers.items():
        context, whole = Prompt("Answer:").segments, Prompt("Answer:", answer).segments
        n = len(processor.encode(context))
        assert processor.encode(whole).ids[n:] == (expected,)


def test_a_pictures_vector_is_the_class_token_of_the_tower(reference: Reference) -> None:
    rng, hf = random.Random(2), reference.hf.vision_model
    images = [picture(rng) for _ in range(3)]
    pixels = torch.cat([reference.ours.encode(Prompt(image)).pixel_values for image in images])
    with torch.no_grad():
        wanted = hf.model.post_layernorm(hf(pixels).last_hidden_state[:, 0])
    found = reference.ours.embed_images([SourceImage.of(image) for image in images])
    assert torch.allclose(found, torch.nn.functional.normalize(wanted, dim=-1), atol=1e-5)
    assert not torch.allclose(found[0], found[1], atol=1e-2)


def test_tags_in_data_stay_text(reference: Reference) -> None:
    processor = reference.ours.processor
    special = set(processor.tokenizer.ids.values())
    text = "a <image> and </s> <pad> <grounding> <patch_index_0001> in a text"
    ids = processor.encode([Text(text)]).ids
    assert not special & set(ids[1:]) - {processor.tokenizer.unk}
    assert processor.tokenizer.decode(ids) == text


def test_given_tokens_are_fed_as_they_are(reference: Reference) -> None:
    assert reference.ours.encode(Prompt(Tokens((0, 7, 8)))).input_ids.tolist() == [0, 7, 8]


def test_save_and_load_are_inverse_and_sharded_files_load(checkpoint: tuple[Path, Any], tmp_path: Path) -> None:
    folder, hf = checkpoint
    network = load_network(folder)
    save_network(network, tmp_path / "copy", torch.float32)
    again = load_network(tmp_path / "copy")
    for (name, a), (_, b) in zip(network.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    hf.save_pretrained(tmp_path / "sharded", max_shard_size="200KB")
    assert (tmp_path / "sharded/model.safetensors.index.json").is_file()
    for a, b in zip(network.parameters(), load_network(tmp_path / "sharded").parameters(), strict=True):
        assert torch.equal(a, b)


def _drop_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["text_model.model.layers.1.ffn.fc1.weight"]
    save_file(tensors, folder / "model.safetensors")


def _other_architecture(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))


def _other_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["ffn_dim"] = 256
    (folder / "config.json").write_text(json.dumps(config))


def _only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _escaping_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"x": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _truncated(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_drop_tensor, "lacks text_model.model.layers.1.ffn.fc1.weight"),
        (_other_architecture, "model_type is 'llama'"),
        (_other_width, "has shape"),
        (_only_pickle, "pickle"),
        (_escaping_shard, "not a safetensors file name in this folder"),
        (_truncated, "not a readable safetensors file"),
        (_no_tokenizer, "tokenizer.json is missing"),
    ],
)
def test_broken_checkpoints_say_what_is_wrong(tmp_path: Path, spoil: Any, says: str) -> None:
    random_hf(0, hf_config(layers=2)).save_pretrained(tmp_path)
    save_processor(tmp_path)
    spoil(tmp_path)
    with pytest.raises(CheckpointError, match=says) as caught:
        KosmosModel.load(tmp_path, "broken")
    assert "\n" not in str(caught.value)


def test_a_prompt_longer_than_the_positions_is_refused(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, config=hf_config(max_position_embeddings=100))
    model = KosmosModel.load(tmp_path, "short")
    with pytest.raises(KosmosEvalError, match="positions"):
        model.generate([Prompt(words(random.Random(0), 90))], max_new_tokens=20)


@pytest.mark.slow
def test_released_shape(tmp_path: Path) -> None:
    """24 layers of 2048, CLIP ViT-L/14: about 7 GB twice, a few minutes."""
    from transformers import Kosmos2Config

    hf = random_hf(3, Kosmos2Config(), scale=3)
    hf.save_pretrained(tmp_path)
    save_processor(tmp_path)
    ours = KosmosModel.load(tmp_path, "full")
    rng = random.Random(4)
    prompt = Prompt(words(rng, 3), picture(rng), words(rng, 4), picture(rng), " Question: is it red? Answer:")
    reference = Reference(hf, ours)
    theirs = reference.logits(prompt)
    difference = (ours.forward_logits(prompt) - theirs).abs().max()
    print(f"max |difference| {difference:.2e}, max |logit| {theirs.abs().max():.2f}")
    assert difference <= tolerance(theirs)
    assert abs(ours.score([(prompt, [" yes red"])])[0][0] - reference.logprob(prompt.segments, " yes red")) <= 1e-4
    ids = reference.generate(prompt, max_new_tokens=8)
    assert ours.generate([prompt], max_new_tokens=8) == [ours.processor.tokenizer.decode(ids)]
