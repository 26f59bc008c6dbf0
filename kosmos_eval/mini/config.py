"""The recipe's one configuration file, checked: a typo is an error."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kosmos_eval.errors import DataError
from kosmos_eval.kosmos.config import KosmosConfig, TextConfig, VisionConfig
from kosmos_eval.mini.tokenizer import IMAGE_TOKENS, build_tokenizer
from kosmos_eval.safe_yaml import load_yaml


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkSizes(_Strict):
    """Widths and depths. Pictures are 224 pixels in patches of 14, and 64 image tokens, as KOSMOS-2 has them."""

    vision_width: int = 192
    vision_layers: int = 4
    vision_heads: int = 6
    text_width: int = 256
    text_layers: int = 5
    text_heads: int = 8
    positions: int = 4096

    def build(self) -> KosmosConfig:
        """The network's own configuration; the vocabulary is the tokenizer's."""
        return KosmosConfig(
            text=TextConfig(
                vocab_size=build_tokenizer().get_vocab_size(with_added_tokens=True),
                max_position_embeddings=self.positions, embed_dim=self.text_width, layers=self.text_layers,
                ffn_dim=4 * self.text_width, attention_heads=self.text_heads,
            ),
            vision=VisionConfig(
                hidden_size=self.vision_width, intermediate_size=4 * self.vision_width,
                num_hidden_layers=self.vision_layers, num_attention_heads=self.vision_heads,
            ),
            latent_query_num=IMAGE_TOKENS,
        )  # fmt: skip


class Schedule(_Strict):
    """Learning rate over a stage: a rise, a plateau, and a straight fall to nothing over the last part."""

    steps: int = Field(gt=0)
    lr: float = 1e-3
    warmup: int = 50
    fall: float = 0.4

    def at(self, step: int) -> float:
        """The rate of one step."""
        rise = min(1.0, (step + 1) / self.warmup)
        left = (self.steps - step) / (self.fall * self.steps)
        return self.lr * min(rise, max(0.0, min(1.0, left)))


class DenseStage(_Strict):
    """Pictures of each sort in a batch, and the schedule.

    `vision_lr` scales the rate of the vision tower. In the first `heads_first` steps only the heads learn: a network
    that is already trained should not be led astray by heads that are not.
    """

    schedule: Schedule
    mix: dict[str, int]
    vision_lr: float = 1.0
    heads_first: int = 0


class DecodeStage(_Strict):
    """The decoder's stage: how many tokens a batch holds, pool sizes, and how often each skill is drawn, over time.

    With a `vision_lr` above 0 vision learns on: its rate as a share of the decoder's. Pages are then read live, one
    or two other pictures (drawn by `beside`) with each batch of them, and for `heads_first` steps the readers of labels
    learn alone; the skill `see` has the readers alone read pictures of the mix of that name. `judge_matrix` then wants
    `refresh_panels` above 0: the panels of matrices are encoded once, unless they are renewed in turn.

    `new_decoder` begins with a new decoder on the vision of the checkpoint that is gone on from. Without `language`
    nothing is taught from text alone: no opinions, memes or matrices as texts, and no scores of words.
    """

    schedule: Schedule
    token_budget: int = 2400
    pool: int = 2000
    refresh_every: int = 25
    refresh: int = 64
    refresh_others: int = 8
    refresh_panels: int = Field(0, ge=0)
    pointer_weight: float = 0.5
    first_length: int = 32
    vision_lr: float = Field(0.0, ge=0, le=1)
    heads_first: int = 150
    new_decoder: bool = False
    language: bool = True
    see: dict[str, int] = {"page": 9, "scene": 1, "photograph": 1, "meme": 2}
    beside: dict[str, int] = {"scene": 2, "photograph": 1, "meme": 2, "panel": 1}
    skills: dict[str, list[tuple[int, float]]]


class Recipe(_Strict):
    """The whole recipe."""

    seed: int = 1
    network: NetworkSizes = NetworkSizes()
    patches: DenseStage
    tokens: DenseStage
    decode: DecodeStage
    official_look: float = Field(0.92, ge=0, le=1)
    """Share of rendered texts at the look of Rendered SST-2; the others vary in face, size and place."""
    log_every: int = 20
    save_minutes: float = 4.0


def load_recipe(path: Path) -> Recipe:
    """Reads the YAML. Raises DataError naming the file and the key."""
    try:
        return Recipe.model_validate(load_yaml(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise DataError(f"{path}: {error}") from error
