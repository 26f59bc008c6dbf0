"""The runner: passes of the network over keys, with the path cache as its memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kosmos_eval.engine.attention import Piece
from kosmos_eval.engine.cache import PathCache, SlotCache, TailCache
from kosmos_eval.engine.images import ImageTable
from kosmos_eval.engine.memory import Memory
from kosmos_eval.engine.split import packed_attention
from kosmos_eval.engine.steps import FixedSteps
from kosmos_eval.engine.tree import Node
from kosmos_eval.kosmos.decoder import Attention
from kosmos_eval.kosmos.model import Kosmos


class Runner:
    """Runs new positions, and keeps the path to the node at hand computed.

    `computed` counts positions, `read` those whose logits were looked at; `memory` knows what keys and values took.
    """

    def __init__(self, network: Kosmos) -> None:
        self.network = network
        self.path = PathCache(network.config.text, network.device, network.dtype)
        self.computed = 0
        self.read = 0
        self.memory = Memory()
        self.steps = FixedSteps(network) if network.device.type == "cuda" else None
        self._images: ImageTable | None = None
        self._nodes: list[Node] = []

    @property
    def position_bytes(self) -> int:
        """What the keys and values of one position take."""
        text = self.network.config.text
        return 2 * text.layers * text.embed_dim * self.network.dtype.itemsize

    @property
    def weights_in_positions(self) -> int:
        """So many positions have keys and values of the size of the decoder's weights, which every step reads."""
        size = sum(weight.numel() for weight in self.network.decoder.parameters())
        return size * self.network.dtype.itemsize // self.position_bytes

    def begin(self, images: ImageTable) -> None:
        """Starts on a window: its pictures, an empty path."""
        self._images, self._nodes = images, []

    def go_on_with(self, images: ImageTable) -> None:
        """Takes up a window again, if another was begun meanwhile."""
        if self._images is not images:
            self.begin(images)

    def forget(self) -> None:
        """Gives up the path and its memory: a pass over it was broken off."""
        self.path, self._nodes = PathCache(self.network.config.text, self.network.device, self.network.dtype), []
        if self.steps is not None:
            self.steps.forget()

    def slots(self, rows: int, room: int) -> SlotCache:
        """Slots for the rows of a batch; those of the batch before are given up."""
        if self.steps is not None:
            return self.steps.slots(rows, room)
        return SlotCache(self.network.config.text, rows, room, self.network.device, self.network.dtype)

    def embed(self, keys: NDArray[np.int64]) -> Tensor:
        """Keys (positions,) to unscaled embeddings (positions, width): words, image tokens where they are negative."""
        device = self.network.device
        embeds = self.network.decoder.embed_tokens(torch.from_numpy(keys.clip(min=0)).to(device))
        places = np.flatnonzero(keys < 0)
        if len(places):
            assert self._images is not None
            rows = self._images.rows()
            assert rows is not None
            wanted = rows[torch.from_numpy(-1 - keys[places]).to(device)]
            embeds[torch.from_numpy(places).to(device)] = wanted.to(embeds.dtype)
        return embeds

    def run(self, keys: Sequence[int] | NDArray[np.int64], places: NDArray[np.int64], attention: Attention) -> Tensor:
        """Hidden states (positions, width) of new positions at their places in their sequences."""
        self.count(len(keys))
        embeds = self.embed(np.asarray(keys, dtype=np.int64))
        return self.network.decoder(embeds, torch.from_numpy(places).to(self.network.device), attention)

    def count(self, computed: int, read: int = 0) -> None:
        """Takes note of positions that were computed, and of those whose logits were."""
        self.computed += computed
        self.read += read

    def packed(
        self, pieces: list[Piece], keys: NDArray[np.int64], places: NDArray[np.int64], slots: SlotCache | None
    ) -> Tensor:
        """One pass over new positions of several rows."""
        network = self.network
        attention = packed_attention(pieces, self.path, slots, device=network.device, dtype=network.dtype)
        return self.run(keys, places, attention)

    def go_to(self, node: Node) -> None:
        """Makes the path hold the node: keeps what is common with the node before, computes the rest."""
        wanted = node.path()
        held = 0
        while held < min(len(wanted), len(self._nodes)) and wanted[held] is self._nodes[held]:
            held += 1
        self._nodes = self._nodes[:held]
        for n in wanted[held:]:
            if n.end > n.start:
                keys, places = n.keys[n.start :], np.arange(n.start, n.end)
                self.packed([Piece(path=n.start, own=0, chain=len(keys), new=len(keys))], keys, places, None)
            self._nodes.append(n)

    def go_back_to(self, node: Node) -> None:
        """Makes the path hold the node again where it was left for another branch; what lies deeper is kept."""
        wanted = node.path()
        if len(self._nodes) < len(wanted) or any(a is not b for a, b in zip(wanted, self._nodes, strict=False)):
            self.go_to(node)

    def note_memory(self, caches: Sequence[SlotCache | TailCache], positions: int) -> None:
        """Takes note of what is held, and of the positions that rows would hold if they shared nothing."""
        self.memory.note(self.path.nbytes + sum(c.nbytes for c in caches), positions * self.position_bytes)

    def copy_path(self, start: int, end: int, slots: SlotCache, slot: int) -> None:
        """Copies keys and values of the path's positions [start, end) to the beginning of a slot."""
        for own, path in ((slots.k, self.path.k), (slots.v, self.path.v)):
            for layer in range(len(own)):
                own[layer][slot, :, : end - start] = path[layer][:, start:end]

    def logits(self, hidden: Tensor) -> Tensor:
        """(rows, width) -> (rows, vocabulary), float32."""
        self.count(0, len(hidden))
        return self.network.decoder.logits(hidden).float()
