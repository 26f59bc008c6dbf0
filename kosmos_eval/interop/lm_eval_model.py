"""KOSMOS as a model of lm-eval. Its requests become ours, many at once: the engine computes shared contexts once.

Importing this module registers the model as `kosmos`:

>>> import kosmos_eval.interop.lm_eval_model
>>> lm_eval.simple_evaluate(model="kosmos", model_args="pretrained=kosmos-mini", tasks=["piqa"])
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lm_eval.models  # noqa: F401 -- before ours is registered, else lm-eval never looks for its own
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from kosmos_eval.errors import KosmosEvalError, RequestTooLongError, UsageError, nearest
from kosmos_eval.interop import PLACEHOLDER
from kosmos_eval.models import load_model
from kosmos_eval.prompt import Image, Segment, Text, Tokens
from kosmos_eval.request import Act, Choice, ChoiceScore, Generate, Request, Response, Score, Stage

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from kosmos_eval.models.kosmos import KosmosModel

NEWLINE = "</line>"
"""What KOSMOS was trained to write for a line's end: its tokenizer has no newline."""
_CHOICES = 32
"""Continuations of one context that are scored in one request: they share it, and each other's beginnings."""
_GENERATION = {"num_beams": "beams", "length_penalty": "length_penalty", "no_repeat_ngram_size": "no_repeat_ngram"}
_IDLE = {"do_sample", "temperature", "top_k", "top_p", "min_p", "use_cache"}
"""Generation arguments that mean nothing when nothing is sampled."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Continuation:
    """What is scored, and behind what. `ids` are the target's tokens, where they are known already."""

    context: tuple[Segment, ...]
    target: str
    ids: tuple[int, ...] | None


@register_model("kosmos")
class KosmosLM(TemplateLM):
    """A KOSMOS checkpoint for lm-eval, pictures included, also where continuations are scored.

    pretrained: a bundled name, a checkpoint folder, a hub id, or a model that is loaded already. max_length: positions
    that are read at once, the predicted one not counted; by default all that the model has. A longer context is cut on
    its left, as lm-eval's own models do. max_gen_toks: tokens written where a task does not say how many. Batch sizes
    are accepted and ignored: the engine packs by itself, and its results do not depend on them.
    """

    MULTIMODAL = True

    def __init__(
        self,
        pretrained: str | Path | KosmosModel = "kosmos-mini",
        device: str = "auto",
        dtype: str = "auto",
        revision: str | None = None,
        max_length: int | None = None,
        max_gen_toks: int = 256,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if isinstance(pretrained, str | Path):
            self.model = load_model(pretrained, _there(device), dtype, revision)
        else:
            self.model = pretrained
        self._device = self.model.network.device
        self._tokenizer = self.model.processor.tokenizer
        most = self.model.processor.positions - 1
        self.max_length = most if max_length is None else int(max_length)
        if not 1 <= self.max_length <= most:
            raise UsageError(f"max_length={max_length}: {self.model.name} reads 1 to {most} positions")
        self.max_gen_toks = int(max_gen_toks)

    @property
    def eot_token_id(self) -> int:
        return self._tokenizer.eos

    @property
    def prefix_token_id(self) -> int:
        """`<s>`: what KOSMOS was trained to begin with."""
        return self._tokenizer.bos

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval notes about the model in its results."""
        return {"model_name": self.model.name, "model_fingerprint": self.model.fingerprint, **self.model.info}

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids, with `<s>` before them unless told otherwise: so both halves of a pair begin alike."""
        encode = self._tokenizer.encode_text.__wrapped__  # its cache would keep every context of every request
        return [*([] if add_special_tokens is False else [self._tokenizer.bos]), *encode(string)]

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        raise UsageError("KOSMOS has no chat template: run without --apply_chat_template")

    # Scoring.

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(summed log-probability, whether greedy decoding would write it) of each continuation."""
        args = [request.args for request in requests]
        wanted = [self._continuation(*each) for each in args]
        self._tell_cut(sum(cut for _, cut in wanted))
        found: list[tuple[float, bool]] = [(0.0, False)] * len(args)
        for i, choice in self._scores([continuation for continuation, _ in wanted], disable_tqdm):
            found[i] = choice.logprob, bool(choice.greedy)
            self.cache_hook.add_partial("loglikelihood", args[i], found[i])
        return found

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        """The same of what is tokenised already; for callers of lm-eval's own interface."""
        wanted = [self._tokenised(context, target) for _, context, target in requests]
        found: list[tuple[float, bool]] = [(0.0, False)] * len(wanted)
        for i, choice in self._scores([continuation for continuation, _ in wanted], disable_tqdm):
            found[i] = choice.logprob, bool(choice.greedy)
        return found

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Log-probability of whole texts behind `<s>`: windows of `max_length`, each token predicted once."""
        windows: list[_Continuation] = []
        owners: list[int] = []
        for i, request in enumerate(requests):
            ids = self.tok_encode(request.args[0], add_special_tokens=False)
            for pair in get_rolling_token_windows(ids, self.prefix_token_id, self.max_length, context_len=1):
                context, target = make_disjoint_window(pair)
                windows.append(self._tokenised(context, target)[0])
                owners.append(i)
        parts: list[dict[int, float]] = [{} for _ in requests]
        wanted = Counter(owners)
        for window, choice in self._scores(windows, disable_tqdm):
            owner = owners[window]
            parts[owner][window] = choice.logprob
            if len(parts[owner]) == wanted[owner]:
                self.cache_hook.add_partial("loglikelihood_rolling", requests[owner].args, _in_order(parts[owner]))
        return [_in_order(part) for part in parts]

    def _continuation(
        self, context: str, continuation: str, extra: Mapping[str, Any] | None = None
    ) -> tuple[_Continuation, int]:
        """One request of lm-eval, and whether its context had to be cut."""
        if extra is not None:
            return _Continuation(_interleaved(context, extra), continuation, None), 0
        if context:
            return self._tokenised(*self._encode_pair(context, continuation))
        return self._tokenised([self.prefix_token_id], self.tok_encode(continuation, add_special_tokens=False))

    def _tokenised(self, context: list[int], target: list[int]) -> tuple[_Continuation, int]:
        if len(target) > self.max_length:
            raise RequestTooLongError(
                f"a continuation of {len(target)} tokens is longer than max_length={self.max_length}: "
                f"{self._tokenizer.decode(target[:20])!r}..."
            )
        too_many = len(context) + len(target) - (self.max_length + 1)
        kept = context[max(too_many, 0) :]
        return _Continuation((Tokens(tuple(kept)),), self._tokenizer.decode(target), tuple(target)), int(too_many > 0)

    def _scores(self, wanted: Sequence[_Continuation], disable_tqdm: bool) -> Iterator[tuple[int, ChoiceScore]]:
        """Continuations, by their places, as they are scored; those of one context in one request."""
        groups: dict[tuple[Segment, ...], list[list[int]]] = {}
        for i, continuation in enumerate(wanted):
            group = groups.setdefault(continuation.context, [[]])
            if len(group[-1]) == _CHOICES:
                group.append([])
            group[-1].append(i)
        members = [part for group in groups.values() for part in group]
        asked = ((wanted[part[0]].context, _score_act(wanted, part)) for part in members)
        with tqdm(total=len(wanted), desc="Scoring continuations", disable=disable_tqdm) as bar:
            for k, response in self._responses(asked):
                yield from zip(members[k], response.stages[-1].choices, strict=True)
                bar.update(len(members[k]))

    # Writing.

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Texts, written greedily or by beam search, cut off before any of the strings in `until`."""
        asked = [self._generation(*request.args) for request in requests]
        self._tell_cut(sum(cut for _, _, cut in asked))
        texts = [""] * len(requests)
        with tqdm(total=len(requests), desc="Writing", disable=disable_tqdm) as bar:
            for i, response in self._responses((segments, act) for segments, act, _ in asked):
                texts[i] = response.text or ""
                self.cache_hook.add_partial("generate_until", requests[i].args, texts[i])
                bar.update()
        return texts

    def _generation(
        self, context: str, gen_kwargs: Mapping[str, Any], extra: Mapping[str, Any] | None = None
    ) -> tuple[tuple[Segment, ...], Generate, int]:
        act = _generate_act(gen_kwargs, self.max_gen_toks)
        if extra is not None:
            return _interleaved(context, extra), act, 0
        room = self.max_length + 1 - act.max_tokens
        if room < 1:
            raise UsageError(f"max_gen_toks={act.max_tokens} leaves no room: max_length is {self.max_length}")
        ids = self.tok_encode(context)
        return (Tokens(tuple(ids[-room:])),), act, int(len(ids) > room)

    # Both.

    def _responses(self, asked: Iterable[tuple[tuple[Segment, ...], Act]]) -> Iterator[tuple[int, Response]]:
        """Asks the engine. lm-eval has no place for a request that failed: what cannot be answered is raised."""
        requests = (Request(str(k), (), (Stage("answer", segments, act),)) for k, (segments, act) in enumerate(asked))
        for k, response in self.model.run(requests):
            if response.error is not None:
                raise KosmosEvalError(response.error)
            yield k, response

    def _tell_cut(self, cut: int) -> None:
        if cut:
            log.warning("%d contexts are longer than max_length=%d and were cut on their left", cut, self.max_length)


def _there(device: str) -> str:
    """The device; `auto` for lm-eval's default, `cuda:0`, on a machine that has no GPU, as its own models do."""
    import torch

    return "auto" if device == "cuda:0" and not torch.cuda.is_available() else device


def _in_order(parts: Mapping[int, float]) -> float:
    """A sum that does not depend on the order in which its parts came."""
    return sum(parts[window] for window in sorted(parts))


def _score_act(wanted: Sequence[_Continuation], members: Sequence[int]) -> Score:
    return Score(tuple(Choice(str(i), wanted[i].target, target_ids=wanted[i].ids) for i in members))


def _interleaved(context: str, extra: Mapping[str, Any]) -> tuple[Segment, ...]:
    """A text with its pictures where their placeholders stand."""
    from PIL.Image import Image as PILImage

    if others := sorted(extra.keys() - {"visual"}):
        raise UsageError(f"KOSMOS sees pictures only: it cannot take {', '.join(others)}")
    given = extra["visual"]
    pictures = list(given) if isinstance(given, list | tuple) else [given]
    texts = context.split(PLACEHOLDER)
    if len(texts) - 1 != len(pictures):
        raise UsageError(
            f"a text has {len(texts) - 1} {PLACEHOLDER} and {len(pictures)} pictures ({context[:60]!r}); lm-eval gives "
            "demonstrations no pictures: run tasks with pictures at --num_fewshot 0"
        )
    if wrong := [type(picture).__name__ for picture in pictures if not isinstance(picture, PILImage)]:
        raise UsageError(f"a task's pictures must be PIL images, not {wrong[0]}: see its doc_to_image")
    segments: list[Segment] = [Text(texts[0])]
    for picture, text in zip(pictures, texts[1:], strict=True):
        segments += [Image.of(picture), Text(text)]
    return tuple(s for s in segments if s != Text(""))


def _generate_act(gen_kwargs: Mapping[str, Any], most: int) -> Generate:
    """lm-eval's generation arguments as an act; raises UsageError for sampling and for what is not known."""
    kwargs: dict[str, Any] = dict(normalize_gen_kwargs(dict(gen_kwargs), most))
    if kwargs.get("do_sample"):
        raise UsageError(
            f"a task asks for sampling (temperature {kwargs.get('temperature', 1)}), but KOSMOS is decoded greedily or "
            "by beam search: run with --gen_kwargs do_sample=False temperature=0"
        )
    stops = handle_stop_sequences(kwargs.pop("until"), eos=None)
    if any(stop.strip(" ") == "\n" for stop in stops):
        stops = [*stops, NEWLINE]
    max_tokens = kwargs.pop("max_gen_toks")
    if unknown := sorted(kwargs.keys() - _IDLE - _GENERATION.keys()):
        raise UsageError(f"generation argument {unknown[0]!r} is not known{nearest(unknown[0], _GENERATION)}")
    given = {_GENERATION[name]: value for name, value in kwargs.items() if name in _GENERATION}
    return Generate(max_tokens, stop=tuple(stops), **given)
