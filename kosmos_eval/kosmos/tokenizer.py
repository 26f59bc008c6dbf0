"""The tokenizer: SentencePiece pieces for text, special tokens only where a segment says so.

A Hugging Face tokenizer turns `<image>` typed in a caption into the image token. This one keeps two views of one
`tokenizer.json`: `plain`, in which nothing is special, reads text; `full` names the special tokens and decodes.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from kosmos_eval.errors import CheckpointError, PromptError

TAGS = (
    "</doc>", "<image>", "</image>", "</chunk>", "</line>", "<phrase>", "</phrase>", "<object>", "</object>",
    "</delimiter_of_multi_objects/>", "<grounding>", *(f"<patch_index_{i:04d}>" for i in range(1024)),
)  # fmt: skip
"""The tags that Hugging Face's `Kosmos2Processor` adds to any tokenizer that lacks them, in its order."""
_BASIC = ("<s>", "<pad>", "</s>", "<unk>")


def _plain(raw: dict[str, Any], special: set[str]) -> Tokenizer:
    """The same tokenizer without special tokens: their pieces are renamed to what no text contains."""
    model = dict(raw["model"])
    if model.get("type") == "Unigram" or isinstance(model.get("vocab"), list):
        model["vocab"] = [[f"\x00{i}" if piece in special else piece, p] for i, (piece, p) in enumerate(model["vocab"])]
    else:
        model["vocab"] = {f"\x00{i}" if piece in special else piece: i for piece, i in model["vocab"].items()}
        if model.get("unk_token") in special:
            model["unk_token"] = f"\x00{raw['model']['vocab'][model['unk_token']]}"
    kept = {**raw, "model": model, "added_tokens": [], "post_processor": None, "padding": None, "truncation": None}
    return Tokenizer.from_str(json.dumps(kept))


class KosmosTokenizer:
    """Text to ids and back, with KOSMOS-2's special tokens by name."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.full = Tokenizer.from_str(json.dumps(raw))
        missing = [t for t in TAGS if self.full.token_to_id(t) is None]
        self.full.add_tokens([AddedToken(t, lstrip=True, rstrip=False, normalized=False) for t in missing])
        special = {*_BASIC, "<mask>", *TAGS, *(t["content"] for t in raw.get("added_tokens", []))}
        self.plain = _plain(raw, special)
        self.ids = {name: i for name in special if (i := self.full.token_to_id(name)) is not None}
        self.bos, self.pad, self.eos, self.unk = (self.ids[name] for name in _BASIC)
        self.encode_text = lru_cache(maxsize=65536)(self._encode_text)

    @classmethod
    def load(cls, folder: Path) -> KosmosTokenizer:
        """Reads `tokenizer.json`. Raises CheckpointError if it is missing, unreadable or lacks a basic token."""
        path = folder / "tokenizer.json"
        try:
            return cls(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise CheckpointError(f"{path} is missing: a Kosmos-2 checkpoint in Hugging Face format has one") from None
        except KeyError as error:
            raise CheckpointError(f"{path}: the tokenizer has no {error.args[0]!r}") from None
        except Exception as error:  # the tokenizers library raises bare exceptions
            raise CheckpointError(f"{path}: not a readable tokenizer ({error})") from None

    def __len__(self) -> int:
        return self.full.get_vocab_size(with_added_tokens=True)

    def _encode_text(self, text: str) -> tuple[int, ...]:
        try:
            return tuple(self.plain.encode(text, add_special_tokens=False).ids)
        except TypeError:
            raise PromptError(f"a text holds half a character (a lone surrogate): {text[:60]!r}") from None

    def tag(self, name: str) -> int:
        """The id of a special token; raises KeyError for an unknown one."""
        return self.ids[name]

    def decode(self, ids: list[int] | tuple[int, ...]) -> str:
        """Ids to text; `<s>`, `</s>` and padding leave nothing, other tags their names."""
        hidden = {self.bos, self.pad, self.eos}
        return self.full.decode([i for i in ids if i not in hidden], skip_special_tokens=True)
