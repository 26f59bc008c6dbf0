"""Image tokens, computed once for each picture: by the content of its pixels, whatever file it came from."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kosmos_eval.engine.memory import out_of_memory
from kosmos_eval.prompt import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    from kosmos_eval.engine.image_files import ImageFiles
    from kosmos_eval.kosmos.model import Kosmos

BATCH, BATCH_BYTES = 64, 16 << 20
"""Pictures per pass of the vision tower, and on a CPU the most that a layer's largest activation may take: beyond that
its memory is asked of the system at every layer anew, which costs a tenth of the time."""


def pictures_per_pass(network: Kosmos) -> int:
    """How many pictures are encoded at once as long as memory lasts."""
    vision = network.config.vision
    if network.device.type != "cpu":
        return BATCH
    largest = (vision.num_patches + 1) * vision.intermediate_size * network.dtype.itemsize
    return max(1, min(BATCH, BATCH_BYTES // largest))


Source = tuple[str, str | None, int | str, int, int]


def _source(image: Image) -> Source:
    """Where a picture comes from: equal for two references to one file as it is now, or to one picture in memory."""
    if image.pil is not None or image.path is None:
        return image.name, image.record, id(image.pil), 0, 0
    try:
        stat = image.path.stat()
    except OSError:
        return image.name, image.record, str(image.path), 0, 0
    return image.name, image.record, str(image.path), stat.st_mtime_ns, stat.st_size


class ImageStore:
    """Image tokens by content (128 bits of the pixels); bounded in bytes, the least used given up first.

    Behind it there may be `files` that outlive the process.
    """

    def __init__(
        self, network: Kosmos, load: Callable[[Image], PILImage], preprocess: Callable[[PILImage], Tensor], limit: int,
        files: ImageFiles | None = None,
    ) -> None:  # fmt: skip
        self.network, self.load, self.preprocess, self.limit, self.files = network, load, preprocess, limit, files
        self._embeds: OrderedDict[bytes, Tensor] = OrderedDict()
        self._content: dict[Source, bytes] = {}
        self._bytes = 0
        self.batch = pictures_per_pass(network)
        """Pictures per pass now: fewer once memory was short."""
        self.encoded = 0
        """Pictures that went through the vision tower so far."""

    def known(self, image: Image) -> bytes | None:
        """The content of a picture that was read before from the same file."""
        return self._content.get(_source(image))

    def __contains__(self, key: bytes) -> bool:
        return key in self._embeds

    def read(self, image: Image) -> tuple[bytes, Tensor]:
        """The content and the pixels of a picture. Raises ImageError if it cannot be read."""
        pixels = self.preprocess(self.load(image))
        key = hashlib.blake2b(pixels.numpy().tobytes(), digest_size=16).digest()
        if image.pil is None:  # the id of a picture in memory may come again for another one
            self._content[_source(image)] = key
        return key, pixels

    def embed(self, pixels: dict[bytes, Tensor]) -> None:
        """Gives pictures their tokens: from the files if they are there, else by the vision tower and the resampler."""
        keys = [key for key in pixels if not self._found(key)]
        while keys:
            batch = torch.stack([pixels[k] for k in keys[: self.batch]])
            try:
                tokens = self.network.encode_images(batch.to(self.network.device, self.network.dtype))
            except RuntimeError as error:
                if not out_of_memory(error) or len(batch) == 1:
                    raise
                self.batch = len(batch) // 2
                continue
            self.encoded += len(batch)
            done, keys = keys[: len(batch)], keys[len(batch) :]
            for key, embeds in zip(done, tokens, strict=True):
                self._keep(key, embeds.clone())
                if self.files is not None:
                    self.files.put(key, embeds)

    def _keep(self, key: bytes, embeds: Tensor) -> None:
        self._embeds[key] = embeds
        self._bytes += embeds.nbytes

    def _found(self, key: bytes) -> bool:
        """Whether the files had a picture's tokens."""
        config = self.network.config
        shape = (config.latent_query_num, config.text.embed_dim)
        embeds = None if self.files is None else self.files.get(key, shape)
        if embeds is not None:
            self._keep(key, embeds.to(self.network.device, self.network.dtype))
        return embeds is not None

    def gather(self, keys: list[bytes]) -> Tensor:
        """(pictures, image tokens, width) in the order of `keys`; then forgets what exceeds the limit."""
        tokens = torch.stack([self._embeds[k] for k in keys])
        for k in keys:
            self._embeds.move_to_end(k)
        while self._bytes > self.limit and len(self._embeds) > 1:
            self._bytes -= self._embeds.popitem(last=False)[1].nbytes
        return tokens


class ImageTable:
    """The pictures of one window, numbered by content in the order in which they are first met."""

    def __init__(self, store: ImageStore) -> None:
        self.store = store
        self._numbers: dict[bytes, int] = {}
        self._order: list[bytes] = []
        self._seen: dict[tuple[str, str | None, str, int], int] = {}
        self._held: list[Image] = []
        """Keeps pictures in memory alive, so that their ids stay theirs."""
        self._pixels: dict[bytes, Tensor] = {}
        self._gathered = 0
        self._rows: Tensor | None = None

    def number(self, image: Image) -> int:
        """The picture's number. Raises ImageError if it cannot be read."""
        seen = image.name, image.record, str(image.path), id(image.pil)
        if seen not in self._seen:
            key = self.store.known(image)
            if key is None or not (key in self._pixels or key in self.store):
                key, pixels = self.store.read(image)
                if key not in self.store:
                    self._pixels.setdefault(key, pixels)
            if key not in self._numbers:
                self._numbers[key] = len(self._order)
                self._order.append(key)
            self._seen[seen] = self._numbers[key]
            self._held.append(image)
        return self._seen[seen]

    def contents(self, images: list[Image]) -> str | None:
        """A hash of the contents of pictures, in their order; None without any. Raises ImageError."""
        numbers = [self.number(image) for image in images]
        content = b"".join(self._order[n] for n in numbers)
        return hashlib.blake2b(content, digest_size=8).hexdigest() if numbers else None

    def rows(self) -> Tensor | None:
        """(pictures * image tokens, width): the image tokens of the window, where a slot's key points."""
        if len(self._order) > self._gathered:
            self.store.embed(self._pixels)
            self._pixels = {}
            new = self.store.gather(self._order[self._gathered :]).flatten(0, 1)
            self._rows = new if self._rows is None else torch.cat([self._rows, new])
            self._gathered = len(self._order)
        return self._rows
