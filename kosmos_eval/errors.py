"""Errors meant for people: what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KosmosEvalError(Exception):
    """Base of every error a user can mend. The command line prints it in one line and exits with code 2."""


class UsageError(KosmosEvalError):
    """A name or an option is wrong: an unknown task, prompt, split or model; more shots than demonstrations."""


class DataError(KosmosEvalError):
    """A data file is missing, unreadable or of the wrong shape. The message names the file and the record."""


class ImageError(DataError):
    """One image is missing, corrupt or too large."""


class StoreError(KosmosEvalError):
    """Results cannot be written: a full disk, a folder that is read-only. What was committed before is whole."""


class PromptError(KosmosEvalError):
    """A prompt file is wrong: an unknown key, an unknown variable, a stage that cannot be."""


class CheckpointError(KosmosEvalError):
    """A checkpoint directory is not a Kosmos-2 model in Hugging Face format, or is incomplete."""


class ModelError(KosmosEvalError):
    """A model fails at whatever it is asked; or at one sample, where a run is to stop at the first."""


class RequestTooLongError(KosmosEvalError):
    """A request needs more positions than the model has; it is refused before any compute."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one if there is a near one, and the list of all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(names) if names else 'none'})"
