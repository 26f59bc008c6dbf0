"""Tiny random models of other families with their processors, made from their configs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WORDS = (
    "the", "a", "red", "dog", "cat", "sees", "house", "of", "on", "is", "good", "bad", "film", "very", "not", "green",
    "blue", "seven", "yes", "no", "Question", "Answer", "what", "colour", "it", "an", "image", "User", "Assistant",
    "large", "small", ":", "?", ".", ",",
)  # fmt: skip
CHAT = (
    "{% for m in messages %}{{ 'User' if m.role == 'user' else 'Assistant' }} : "
    "{% for c in m.content %}{{ '<image> ' if c.type == 'image' else c.text }}{% endfor %} . "
    "{% endfor %}{% if add_generation_prompt %}Assistant :{% endif %}"
)
IMAGES_FIRST = CHAT.replace(
    "{% for c in m.content %}{{ '<image> ' if c.type == 'image' else c.text }}{% endfor %}",
    "{% for c in m.content if c.type == 'image' %}<image> {% endfor %}"
    "{% for c in m.content if c.type == 'text' %}{{ c.text }}{% endfor %}",
)
SIDE, PATCH = 28, 14
TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 96}
ENDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 3}
T5_SCALE = 1
"""T5 begins with large weights already; larger ones multiply the rounding of float32."""
VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "image_size": SIDE, "patch_size": PATCH,
}  # fmt: skip


def tokenizer(*special: str, start: str = "<s>", end: str = "") -> Any:
    """Words that carry the space before them, as the pieces of SentencePiece do; unknown ones fall to letters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = ["<s>", "</s>", "<unk>", "<pad>", *(f"▁{w}" for w in WORDS), "▁", *"abcdefghijklmnopqrstuvwxyz<>/_"]
    core = Tokenizer(models.Unigram([(p, -1.0 - 0.01 * i) for i, p in enumerate(pieces)], unk_id=2))
    core.normalizer = normalizers.Replace("  ", " ")
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.decoder = decoders.Metaspace()
    ends = [("<s>", 0), ("</s>", 1)]
    core.post_processor = processors.TemplateProcessing(single=f"{start} $A {end}".strip(), special_tokens=ends)
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )
    made.add_special_tokens({"additional_special_tokens": list(special)})
    return made


def lively(model: Any, scale: float) -> Any:
    """The model with larger matrices: with plain random weights, what it says hardly depends on what it is asked."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "embed" not in name:
                parameter.mul_(scale)
            if name.endswith("query_tokens"):  # transformers begins them with zeros
                parameter.normal_()
        if model.config.get_text_config().is_encoder_decoder:  # FLAN-T5's head is not tied to its embeddings
            head = model.language_model.lm_head
            head.weight = torch.nn.Parameter(torch.randn_like(head.weight))
    return model.eval()


def llava(folder: Path, chat_template: str | None = None) -> Any:
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    words = tokenizer("<image>")
    size = {"height": SIDE, "width": SIDE}
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size)
    LlavaProcessor(
        images, words, patch_size=PATCH, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=chat_template,
    ).save_pretrained(folder)  # fmt: skip
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION), text_config=LlamaConfig(**TEXT, **ENDS, max_position_embeddings=256),
        image_token_index=words.convert_tokens_to_ids("<image>"), vision_feature_layer=-1,
    )  # fmt: skip
    return _saved(LlavaForConditionalGeneration, config, folder)


def llava_chat(folder: Path) -> Any:
    return llava(folder, CHAT)


def llava_images_first(folder: Path) -> Any:
    return llava(folder, IMAGES_FIRST)


def instructblip(folder: Path, t5: bool = False) -> Any:
    from transformers import (
        BlipImageProcessor,
        InstructBlipConfig,
        InstructBlipForConditionalGeneration,
        InstructBlipProcessor,
    )

    words, queries = tokenizer("<image>", start="" if t5 else "<s>", end="</s>" if t5 else ""), 4
    images = BlipImageProcessor(size={"height": SIDE, "width": SIDE})
    InstructBlipProcessor(images, words, tokenizer(), num_query_tokens=queries).save_pretrained(folder)
    qformer = {**{k: v for k, v in TEXT.items() if k != "vocab_size"}, "vocab_size": 96, "encoder_hidden_size": 32}
    config = _with_text(InstructBlipConfig, words, queries, qformer, t5)
    return _saved(InstructBlipForConditionalGeneration, config, folder, scale=T5_SCALE if t5 else 6)


def instructblip_t5(folder: Path) -> Any:
    return instructblip(folder, t5=True)


def blip2_t5(folder: Path) -> Any:
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessor

    words, queries = tokenizer("<image>", start="", end="</s>"), 4
    images = BlipImageProcessor(size={"height": SIDE, "width": SIDE})
    Blip2Processor(images, words, num_query_tokens=queries).save_pretrained(folder)
    qformer = {**{k: v for k, v in TEXT.items() if k != "vocab_size"}, "encoder_hidden_size": 32}
    config = _with_text(Blip2Config, words, queries, qformer, t5=True)
    return _saved(Blip2ForConditionalGeneration, config, folder, scale=T5_SCALE)


def _with_text(kind: Any, words: Any, queries: int, qformer: dict[str, Any], t5: bool) -> Any:
    """A config of a Q-Former before Llama or T5."""
    from transformers import LlamaConfig, T5Config

    text: Any = LlamaConfig(**TEXT, **ENDS)
    if t5:
        sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 96}
        ends = {"eos_token_id": 1, "pad_token_id": 3, "decoder_start_token_id": 3}
        text = T5Config(**sizes, **ends, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    config = kind(
        vision_config=VISION, qformer_config=qformer, text_config=text.to_dict(), num_query_tokens=queries,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    config.image_token_id = config.image_token_index
    return config


def idefics(folder: Path) -> Any:
    from transformers import (
        IdeficsConfig,
        IdeficsForVisionText2Text,
        IdeficsImageProcessor,
        IdeficsProcessor,
    )

    words = tokenizer("<image>", "<fake_token_around_image>")
    IdeficsProcessor(IdeficsImageProcessor(image_size=SIDE), words).save_pretrained(folder)
    config = IdeficsConfig(
        vocab_size=94, additional_vocab_size=2, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, alpha_initializer="ones", cross_layer_interval=1, use_resampler=True,
        qk_layer_norms=False, max_position_embeddings=256, **ENDS,
        vision_config={**VISION, "embed_dim": 32, "intermediate_size": 64},
        perceiver_config={"resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2,
                          "resampler_head_dim": 8, "qk_layer_norms_perceiver": False},
    )  # fmt: skip
    return _saved(IdeficsForVisionText2Text, config, folder, scale=10)


def clip(folder: Path) -> Any:
    """Pools a text at its end token, which its tokenizer therefore puts there."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    size = {"height": SIDE, "width": SIDE}
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size)
    CLIPProcessor(images, tokenizer(end="</s>")).save_pretrained(folder)
    text = {**TEXT, **ENDS, "max_position_embeddings": 48}
    return _saved(CLIPModel, CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16), folder)


def siglip(folder: Path) -> Any:
    """Pools a text at its last position, and is fed texts padded to their full length."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    words = tokenizer(end="</s>")
    words.model_max_length = 48
    SiglipProcessor(SiglipImageProcessor(size={"height": SIDE, "width": SIDE}), words).save_pretrained(folder)
    text = {**TEXT, **ENDS, "max_position_embeddings": 48, "projection_size": 32}
    return _saved(SiglipModel, SiglipConfig(text_config=text, vision_config=VISION), folder)


def _saved(kind: Any, config: Any, folder: Path, scale: float = 6) -> Any:
    torch.manual_seed(0)
    model = lively(kind(config), scale)
    model.save_pretrained(folder)
    return model


FAMILIES: dict[str, Callable[[Path], Any]] = {
    f.__name__: f
    for f in (llava, llava_chat, llava_images_first, instructblip, instructblip_t5, blip2_t5, idefics)
}
