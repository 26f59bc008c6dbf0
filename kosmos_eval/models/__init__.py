"""Models by name. Nothing heavy is imported before one is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.models.base import Model
from kosmos_eval.models.locate import BUNDLED, Checkpoint, locate, resolve_device

if TYPE_CHECKING:
    from kosmos_eval.models.kosmos import KosmosModel

__all__ = ["BUNDLED", "Checkpoint", "Model", "load_model", "locate", "model_for_run"]


def load_model(
    name_or_path: str | Path, device: str = "auto", dtype: str = "auto", revision: str | None = None
) -> KosmosModel:
    """Loads a KOSMOS model: a bundled name (`kosmos-mini`), a checkpoint folder, or a hub id.

    >>> model = load_model("kosmos-mini", device="cpu", dtype="float32")
    """
    checkpoint = locate(name_or_path, revision)
    device, dtype = resolve_device(device, dtype)
    from kosmos_eval.models.kosmos import KosmosModel

    return KosmosModel.load(checkpoint.folder, checkpoint.name, device, dtype)


def model_for_run(name_or_path: str, device: str = "auto", dtype: str = "auto", revision: str | None = None) -> Model:
    """What the command line runs: a model whose weights are read only once something has to be asked."""
    if name_or_path == "fake":
        from kosmos_eval.models.fake import FakeModel

        return FakeModel(check_images=True)
    from kosmos_eval.models.lazy import LazyModel

    return LazyModel(locate(name_or_path, revision), device, dtype)
