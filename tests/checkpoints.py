"""Small random checkpoints in Hugging Face format, and Hugging Face's own model as the reference to compare with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor

from kosmos_eval.models.kosmos import KosmosModel
from kosmos_eval.prompt import Prompt

WORDS = (
    "the", "a", "red", "dog", "cat", "sees", "house", "of", "on", "is", "good", "bad", "film", "movie", "very", "not",
    "green", "blue", "seven", "running",
)  # fmt: skip


def save_processor(folder: Path) -> None:
    """A SentencePiece-like tokenizer over words and letters, and CLIP preprocessing, as Kosmos2Processor saves them."""
    from transformers import Kosmos2Processor, XLMRobertaTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;?!'\"-()<>/&_"
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    pieces += [(f"▁{w}", -3.0) for w in (*WORDS, "yes", "no", "Yes", "No", "Question", "Answer", "an", "image")]
    pieces += [(c, -6.0) for c in letters] + [("ing", -4.0), ("er", -4.0), ("<mask>", 0.0)]
    tokenizer = XLMRobertaTokenizer(vocab=pieces)
    Kosmos2Processor(CLIPImageProcessorPil(use_square_size=True), tokenizer).save_pretrained(folder)


def hf_config(**text: Any) -> Any:
    from transformers import Kosmos2Config

    sizes = {"vocab_size": 1200, "embed_dim": 64, "layers": 3, "ffn_dim": 128, "attention_heads": 4, **text}
    vision = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    return Kosmos2Config(text_config=sizes, vision_config=vision, latent_query_num=64)


def random_hf(seed: int, config: Any | None = None, scale: float = 6) -> Any:
    """A random Hugging Face model whose output depends on its context: matrices enlarged, embeddings left small.

    With plain random weights the tied head repeats the last token whatever came before, and parity says nothing. The
    resampler's queries stay as they are: enlarged, they attend to nothing but themselves, and all pictures are equal.
    """
    from transformers import Kosmos2ForConditionalGeneration

    torch.manual_seed(seed)
    model = Kosmos2ForConditionalGeneration(config or hf_config()).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and not name.endswith(("embed_tokens.weight", "latent_query")):
                parameter.mul_(scale)
    return model


def make_checkpoint(folder: Path, seed: int = 0, config: Any | None = None) -> Any:
    """Writes a random checkpoint and returns the Hugging Face model of the same weights."""
    model = random_hf(seed, config)
    model.save_pretrained(folder)
    save_processor(folder)
    return model


class Reference:
    """Hugging Face's model, one row at a time, given what `KosmosModel.encode` would feed it."""

    def __init__(self, hf: Any, ours: KosmosModel) -> None:
        self.hf, self.ours = hf, ours

    @torch.no_grad()
    def logits(self, prompt: Prompt) -> Tensor:
        """(tokens, vocabulary), a whole forward pass without cache."""
        e = self.ours.encode(prompt)
        if not len(e.pixel_values):
            return self.hf.text_model(input_ids=e.input_ids[None]).logits[0]
        mask = e.image_mask[None].long()
        return self.hf(
            pixel_values=e.pixel_values, input_ids=e.input_ids[None], image_embeds_position_mask=mask
        ).logits[0]

    def logprob(self, before: Sequence[Any], target: Any) -> float:
        """Summed log-probability of a target segment behind others."""
        context, whole = Prompt(*before), Prompt(*before, target)
        start, ids = len(self.ours.encode(context).input_ids), self.ours.encode(whole).input_ids
        logprobs = self.logits(whole).log_softmax(-1)
        return sum(logprobs[t - 1, ids[t]].item() for t in range(start, len(ids)))

    @torch.no_grad()
    def generate(self, prompt: Prompt, **how: Any) -> list[int]:
        """Generated ids. Image embeddings are passed flattened: else beam search mixes up the images of beams."""
        e = self.ours.encode(prompt)
        how = {"do_sample": False, "eos_token_id": 2, "pad_token_id": 1, **how}
        if not len(e.pixel_values):
            out = self.hf.text_model.generate(input_ids=e.input_ids[None], **how)
        else:
            seen = self.hf.vision_model.model.post_layernorm(self.hf.vision_model(e.pixel_values)[0])
            embeds, _ = self.hf.image_to_text_projection(torch.nn.functional.normalize(seen, dim=-1))
            out = self.hf.generate(
                image_embeds=embeds.reshape(1, -1, embeds.shape[-1]), input_ids=e.input_ids[None],
                image_embeds_position_mask=e.image_mask[None].long(), **how,
            )  # fmt: skip
        return [i for i in out[0, len(e.input_ids) :].tolist() if i not in (1, 2)]


def picture(rng: random.Random) -> PILImage.Image:
    noise = np.random.default_rng(rng.randrange(2**32)).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    return PILImage.fromarray(noise)


def words(rng: random.Random, n: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(n))
