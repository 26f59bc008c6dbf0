"""The reference without a cache: whole passes of the network, nothing shared and nothing kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from kosmos_eval.engine.keys import common
from kosmos_eval.models.kosmos import KosmosModel
from kosmos_eval.prompt import Prompt, Segment, Text, Tokens
from kosmos_eval.request import Choice, ChoiceScore, Generated, Request, Response, Score, StageResult, assemble


def uncached(model: KosmosModel, request: Request, response: Response) -> Response:
    """The request answered again, by one pass a text and a choice.

    A text is checked by what would be written behind each part of `response`'s: by induction, greedy decoding without
    a cache writes the same tokens up to the first that differs, where the text returned ends.
    """
    outputs: dict[str, Generated] = {}
    results = []
    for k, (stage, answer) in enumerate(zip(request.stages, response.stages, strict=True)):
        before = assemble(request, k, outputs)
        if isinstance(stage.act, Score):
            scores = tuple(_weighed(model, before, choice) for choice in stage.act.choices)
            results.append(StageResult(stage.name, choices=scores))
        else:
            assert answer.generated is not None
            ids = _written(model, before, answer.generated)
            outputs[stage.name] = answer.generated
            results.append(StageResult(stage.name, Generated(answer.generated.text, ids, answer.generated.finish)))
    return Response(request.id, tuple(results))


def _written(model: KosmosModel, before: Sequence[Segment], text: Generated) -> tuple[int, ...]:
    """The ids that are likeliest behind the prompt and behind each part of the text, up to the first that is not the
    text's own; without the end of sequence, where that is rightly the last."""
    eos = model.processor.tokenizer.eos
    logits = model.forward_logits(Prompt(*before, Tokens(text.ids)))
    expected = [*text.ids, eos] if text.finish == "eos" else list(text.ids)
    start = len(logits) - len(text.ids) - 1
    likeliest = logits[start : start + len(expected)].argmax(dim=-1).tolist()
    same = next((i for i, (a, b) in enumerate(zip(likeliest, expected, strict=True)) if a != b), len(expected))
    return tuple(text.ids) if same == len(expected) else tuple(likeliest[: same + 1])


def _weighed(model: KosmosModel, before: Sequence[Segment], choice: Choice) -> ChoiceScore:
    context = [*before, *choice.segments]
    whole = [*context, Text(choice.target)]
    ids = model.processor.encode(whole).ids
    start = common(np.array(model.processor.encode(context).ids), np.array(ids))
    logprobs = model.forward_logits(Prompt(*whole))[start - 1 : -1].log_softmax(dim=-1)
    target = torch.tensor(ids[start:])
    return ChoiceScore(choice.name, float(logprobs.gather(1, target[:, None]).cpu().double().sum()), len(target))
