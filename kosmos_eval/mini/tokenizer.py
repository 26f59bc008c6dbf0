"""The tokenizer of kosmos-mini: single characters, and a few whole words of the prompts.

A transcript is spelled. What the model generates is then exactly what the tokenizer makes of the same text, so the
second stage of a chain can continue on generated tokens, and reading is one character after the other.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from kosmos_eval.kosmos.tokenizer import TAGS

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
BOS, PAD, EOS, UNK = range(4)
SPACE = "▁"
ASCII = "".join(chr(code) for code in range(33, 127))
BEYOND_ASCII = "éèêëàáâäãåçíîïñóôöøúûüæœßÉ–—‘’“”…½°£€·"
ALPHABET = SPACE + ASCII + BEYOND_ASCII
WORDS = (
    "Question:", "Answer:", "Introduce", "detail:", "opinion?", "speech?", "Here", "images:", "image", "is:",
    "correct?", "picture", "pictures", "positive", "negative", "Yes", "No", "unanswerable", "circle", "square",
    "triangle", "diamond", "orange", "yellow", "purple", "brown", "black", "green", "small", "large", "center",
    "bottom", "right", "object", "shape", "color", "background", "there", "left", "blue", "pink", "gray", "white",
    "against", "shows", "drawing", "scene", "shapes", "objects", "cream", "pale", "following",
)  # fmt: skip
"""Words that are one token. Each makes the transcripts that hold it shorter, and its spelling rarer: keep it short."""
IMAGE_TOKENS = 64
_CHARACTER_SCORE, _WORD_SCORE = -10.0, -1.0


def pieces() -> list[tuple[str, float]]:
    """The Unigram vocabulary in id order: special tokens, characters, words. A word always beats its spelling."""
    vocabulary = [(name, 0.0) for name in SPECIAL]
    vocabulary += [(char, _CHARACTER_SCORE) for char in ALPHABET]
    return vocabulary + [(SPACE + word, _WORD_SCORE) for word in WORDS]


def build_tokenizer() -> Tokenizer:
    """The tokenizer as XLM-RoBERTa's is built, holding already the tags that Kosmos2Processor would add."""
    tokenizer = Tokenizer(models.Unigram(pieces(), unk_id=UNK, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in SPECIAL])
    tokenizer.add_tokens([AddedToken(tag, lstrip=True, rstrip=False, normalized=False) for tag in TAGS])
    return tokenizer


def save_tokenizer(folder: Path) -> None:
    """Writes `tokenizer.json` and the `tokenizer_config.json` that names its class and special tokens."""
    build_tokenizer().save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "processor_class": "Kosmos2Processor",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 4096,
        "padding_side": "right",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
