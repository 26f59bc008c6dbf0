"""Models by name. Nothing heavy is imported before one is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import UsageError
from kosmos_eval.models.base import Model
from kosmos_eval.models.locate import BUNDLED, Checkpoint, fingerprint, locate, resolve_device

if TYPE_CHECKING:
    from kosmos_eval.kosmos.processor import Processor
    from kosmos_eval.models.kosmos import KosmosModel

__all__ = ["BUNDLED", "Checkpoint", "Model", "backend_of", "load_model", "locate", "model_for_run", "processor_for"]


def load_model(
    name_or_path: str | Path, device: str = "auto", dtype: str = "auto", revision: str | None = None
) -> KosmosModel:
    """Loads a KOSMOS model: a bundled name (`kosmos-mini`), a checkpoint folder, or a hub id.

    Other models (`hf:...`, `clip:...`) come from `kosmos_eval.models.model_for_run`.

    >>> model = load_model("kosmos-mini", device="cpu", dtype="float32")
    """
    if backend_of(str(name_or_path))[0]:
        raise UsageError(f"{name_or_path}: load_model is for KOSMOS models; use kosmos_eval.models.model_for_run")
    checkpoint = locate(name_or_path, revision)
    device, dtype = resolve_device(device, dtype)
    return _kosmos(checkpoint.folder, checkpoint.name, device, dtype)


def model_for_run(
    name_or_path: str, device: str = "auto", dtype: str = "auto", revision: str | None = None, *, here: bool = True
) -> Model:
    """What the command line runs: a model whose weights are read only once something has to be asked.

    `hf:NAME` is an image-text-to-text model of transformers, `clip:NAME` a CLIP, `fake` a scripted one without weights;
    any other name is a KOSMOS checkpoint for the engine. NAME is a folder, a hub id or a bundled checkpoint. Not
    `here`: it is others who ask it, on a device that need not be in this machine.
    """
    if name_or_path == "fake":
        from kosmos_eval.models.fake import FakeModel

        return FakeModel(check_images=True)
    from kosmos_eval.models.lazy import LazyModel

    backend, name = backend_of(name_or_path)
    checkpoint = locate(name, revision)
    device, dtype = resolve_device(device, dtype, here)
    if backend:
        checkpoint = replace(checkpoint, name=f"{backend}:{checkpoint.name}")
        return LazyModel(checkpoint, BACKENDS[backend], fingerprint, device, dtype)
    return LazyModel(checkpoint, _kosmos, _kosmos_fingerprint, device, dtype)


def processor_for(model: Model) -> Processor | None:
    """What turns prompts into a KOSMOS model's tokens, without its weights; None for other models."""
    from kosmos_eval.kosmos.processor import Processor
    from kosmos_eval.models.lazy import LazyModel

    if isinstance(model, LazyModel):
        return None if backend_of(model.name)[0] else Processor.load(model.checkpoint.folder)
    found = getattr(model, "processor", None)
    return found if isinstance(found, Processor) else None


def backend_of(name: str) -> tuple[str | None, str]:
    """The back end before the colon of a model's name, None for the KOSMOS engine, and the name without it."""
    backend, colon, rest = name.partition(":")
    return (backend, rest) if colon and backend in BACKENDS else (None, name)


def _kosmos(folder: Path, name: str, device: str, dtype: str) -> KosmosModel:
    from kosmos_eval.models.kosmos import KosmosModel

    return KosmosModel.load(folder, name, device, dtype)


def _kosmos_fingerprint(folder: Path) -> str:
    from kosmos_eval.kosmos.weights import fingerprint

    return fingerprint(folder)


def _hugging_face(folder: Path, name: str, device: str, dtype: str) -> Model:
    from kosmos_eval.models.huggingface import HuggingFaceModel

    return HuggingFaceModel.load(folder, name, device, dtype)


def _clip(folder: Path, name: str, device: str, dtype: str) -> Model:
    from kosmos_eval.models.clip import ClipModel

    return ClipModel.load(folder, name, device, dtype)


BACKENDS: dict[str, Callable[[Path, str, str, str], Model]] = {"hf": _hugging_face, "clip": _clip}
