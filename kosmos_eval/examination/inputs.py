"""What the network is fed, against Hugging Face's own processor."""

from __future__ import annotations

from collections.abc import Sequence

from kosmos_eval.data.images import load
from kosmos_eval.examination.difference import Difference
from kosmos_eval.models.kosmos import KosmosModel
from kosmos_eval.prompt import Image, Prompt, Text
from kosmos_eval.request import Request, assemble


def compare_inputs(model: KosmosModel, requests: Sequence[Request]) -> Difference:
    """`texts`: prompts of one picture before a text, which is all that Hugging Face's processor writes; `changed`: of
    these, the ones with other token ids; `largest`: of the pixels. Raises what transformers raises where there is no
    such processor."""
    from transformers import AutoProcessor

    theirs = AutoProcessor.from_pretrained(model.folder, trust_remote_code=False, local_files_only=True)
    found = Difference()
    for request in requests:
        match assemble(request, 0, {}):
            case [Image() as image, Text(text)]:
                expected = theirs(text=text, images=load(image), return_tensors="pt")
                ours = model.encode(Prompt(image, Text(text)))
                found.texts += 1
                found.changed += ours.input_ids.tolist() != expected.input_ids[0].tolist()
                apart = (ours.pixel_values - expected.pixel_values).abs().max()
                found.largest = max(found.largest, float(apart))
    if not found.texts:
        raise ValueError("no request is one picture before a text")
    return found
