"""Writing so that a crash, a full disk or a folder that may not be written costs nothing that was finished."""

from __future__ import annotations

import errno
import getpass
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kosmos_eval.errors import StoreError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def storing(path: Path, need: int | None = None, option: str = "--out") -> Iterator[None]:
    """Turns what the system says against writing `path` into a StoreError: what, where, and how to go on.

    need: bytes that are about to be written, where that is known; `option`: what names another place.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: {_reason(error, path, need, option)}") from None


def _reason(error: OSError, path: Path, need: int | None, option: str) -> str:
    if error.errno in _FULL:
        wanted = "" if need is None else f", {_size(need)} are to be written"
        return (
            f"the disk is full or a quota used up ({error.strerror}{wanted}{_free(path)}); what is finished is kept: "
            "make room and give the same command again"
        )
    if error.errno in _CLOSED:
        return f"cannot be written ({error.strerror}); make its folder writable, or give another {option}"
    return f"cannot be written ({error.strerror or error}); give another {option}"


def _free(path: Path) -> str:
    with suppress(OSError):
        return f", {_size(shutil.disk_usage(path.parent).free)} are free"
    return ""


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{-(-count // 1024)} KiB"


def replace_file(path: Path, lines: str | Iterable[str], option: str = "--out") -> None:
    """Writes a file beside its place, waits until it is on the disk, then renames it there. One writer at a time.

    A folder that is wanting is made. `option`: what named the path. Raises StoreError, with the file as it was.
    """
    draft = path.with_name(f".{path.name}.draft")
    with storing(path, option=option):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
                file.writelines([lines] if isinstance(lines, str) else lines)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            with suppress(OSError):
                draft.unlink()
            raise
        sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replaces a file by JSON in one step, so that a crash leaves the old one or the new one."""
    replace_file(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sync_folder(folder: Path) -> None:
    """Waits until the folder's list of names is on the disk; does nothing where folders cannot be synced."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discreet(path: Path) -> str:
    """An absolute path without the user's home or name in it, for what may be shown to others."""
    return hide_home(str(path.resolve()))


def hide_home(text: str) -> str:
    """A text with `~` in the place of the user's home and, in other paths, `$USER` in that of the user's name."""
    home = os.path.expanduser("~").rstrip("/")
    if len(home) > 1:
        text = text.replace(f"{home}/", "~/")
    with suppress(OSError, KeyError):  # no name for this user id
        name = getpass.getuser()
        if os.environ.get("USER") == name:
            text = re.sub(rf"(?<=/){re.escape(name)}(?=[/:\s]|$)", "$USER", text)
    return text


def expanded(text: str) -> Path:
    """The path that `discreet` wrote, here and now. Of variables it knows `$USER` alone: a folder that somebody else
    made may name others, and what they hold must not be told."""
    name = os.environ.get("USER", "$USER")
    path = re.sub(r"(?<=/)\$USER(?=/|$)", lambda _: name, text)
    return Path(path).expanduser() if path.startswith("~/") else Path(path)


def is_storable(text: str) -> bool:
    """Whether a file can hold a text: JSON can spell half of a surrogate pair, which nothing downstream can hold."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
