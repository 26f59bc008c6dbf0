"""What ends a text, and what of it counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from kosmos_eval.request import Generate, Generated

Finish = Literal["eos", "stop"]


class Vocabulary(Protocol):
    """What of a tokenizer decides where a text ends: its special tokens by name, and how ids are read."""

    @property
    def eos(self) -> int: ...

    @property
    def ids(self) -> Mapping[str, int]: ...

    def decode(self, ids: list[int], /) -> str: ...


class Ending:
    """When a generation is over: at `</s>`, at a stop token or after a stop string."""

    def __init__(self, act: Generate, tokenizer: Vocabulary) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = act.max_tokens
        self._stop_ids = {tokenizer.ids[s.strip()] for s in act.stop if s.strip() in tokenizer.ids}
        self._stop_texts = tuple(s for s in act.stop if s.strip() not in tokenizer.ids and s)

    def reached(self, ids: Sequence[int]) -> Finish | None:
        """Whether the text ends with its last token, by itself or by a stop."""
        if ids[-1] == self.tokenizer.eos:
            return "eos"
        if ids[-1] in self._stop_ids or (self._stop_texts and self._cut(self.tokenizer.decode(list(ids))) is not None):
            return "stop"
        return None

    def _cut(self, text: str) -> int | None:
        found = [place for s in self._stop_texts if (place := text.find(s)) >= 0]
        return min(found) if found else None

    def generated(self, ids: Sequence[int], finish: Finish | None) -> Generated:
        """The text and tokens that count: without the end-of-sequence token, a stop token or a stop string."""
        kept = list(ids[:-1]) if finish and (ids[-1] == self.tokenizer.eos or ids[-1] in self._stop_ids) else list(ids)
        text = self.tokenizer.decode(kept)
        cut = self._cut(text)
        if cut is not None:
            text = text[:cut].rstrip()
            while kept and not text.startswith(self.tokenizer.decode(kept).rstrip()):
                kept.pop()
        return Generated(text, tuple(kept), finish or "length")


def banned(ids: Sequence[int], n: int) -> set[int]:
    """Tokens that would repeat an n-gram of `ids`, placeholders and prompt included (Hugging Face's rule)."""
    if n <= 0 or len(ids) + 1 < n:
        return set()
    followers: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for i in range(len(ids) - n + 1):
        followers[tuple(ids[i : i + n - 1])].add(ids[i + n - 1])
    return followers[tuple(ids[len(ids) - n + 1 :])]
