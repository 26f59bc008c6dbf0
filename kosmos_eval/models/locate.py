"""From what a user calls a model to the folder its files are in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kosmos_eval.errors import CheckpointError, UsageError, nearest

BUNDLED = ("kosmos-mini", "kosmos-mini-with-text", "kosmos-mini-without-text")
HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja", "tokenizer*", "merges.txt", "vocab.*")
"""What is fetched of a hub repository. Never a pickle."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model's files: the name that tables print, and the folder."""

    name: str
    folder: Path


def bundled(name: str) -> Path:
    """Where a bundled checkpoint lies inside the package."""
    return Path(__file__).parents[1] / "checkpoints" / name


def locate(name_or_path: str | Path, revision: str | None = None, *, weights: bool = True) -> Checkpoint:
    """A bundled name, a folder, or a hub id (downloaded, or taken from the local cache when offline).

    Without `weights`, only the small files are fetched: what a tokenizer needs.

    Raises UsageError for an unknown name, CheckpointError where the files cannot be had.
    """
    name = str(name_or_path)
    if name in BUNDLED:
        folder = bundled(name)
        if not (folder / "config.json").is_file():
            raise CheckpointError(f"{name}: this installation came without it ({folder} holds no config.json)")
        return Checkpoint(name, folder)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return Checkpoint(path.resolve().name, path)
    if isinstance(name_or_path, str) and _HUB_ID.fullmatch(name):
        return Checkpoint(name, _download(name, revision, HUB_FILES if weights else HUB_FILES[:1]))
    if "/" in name or "\\" in name:
        raise CheckpointError(f"{name}: no such folder")
    raise UsageError(f"no model {name!r}{nearest(name, BUNDLED)}; else give a folder or a hub id such as org/name")


def fingerprint(folder: Path) -> str:
    """A hash of every file of a checkpoint that can decide what a model of transformers says."""
    import hashlib

    digest = hashlib.blake2b(digest_size=16)
    found = {path for pattern in HUB_FILES for path in folder.glob(pattern) if path.is_file()}
    for file in sorted(found):
        with file.open("rb") as stream:
            digest.update(file.name.encode() + hashlib.file_digest(stream, "blake2b").digest())
    return digest.hexdigest()


def _download(repo: str, revision: str | None, files: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(files)))
    except Exception as error:  # the hub client's errors have no common base
        at = f" --revision {revision}" if revision else ""
        reason = " ".join(str(error).split())[:100]
        raise CheckpointError(
            f"{repo}: no such folder, and not to be had from the hub ({type(error).__name__}: {reason}); where there "
            f"is a network, run `hf download {repo}{at}` first, or give the folder it was downloaded to"
        ) from None


def resolve_device(device: str, dtype: str, here: bool = True) -> tuple[str, str]:
    """`auto` made definite: CUDA if there is one, else the CPU; bfloat16 on CUDA, float32 on the CPU.

    Whether a device that is named is available is only looked at if it is to be `here`.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise UsageError(f"no dtype {dtype!r}{nearest(dtype, ('auto', *DTYPES))}")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise UsageError(f"no device {device!r}{nearest(device, ('auto', 'cpu', 'cuda', 'cuda:0', 'mps'))}")
    if device == "auto" or (here and device != "cpu"):
        device = _available(device)
    if dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    return device, dtype


def _available(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    number = int(device.partition(":")[2] or 0)
    missing = device == "mps" and not torch.backends.mps.is_available()
    if missing or (device.startswith("cuda") and number >= torch.cuda.device_count()):
        raise UsageError(f"device {device!r} is not available here; use --device cpu or auto")
    return device
