"""METEOR 1.5, the Java program that pycocoevalcap ships, kept running while Python does.

It spends seconds on reading its paraphrase table, so one process serves all evaluations of this Python process. It
ends with it: at exit by us, and after a crash because its input ends. Ours and not pycocoevalcap's wrapper, which never
reads the program's error output (and hangs when that is full) and relies on `__del__` to end it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
from collections.abc import Sequence
from threading import Lock
from typing import IO

from kosmos_eval.metrics.java import JAVA_OPTIONS, JavaError, find_java, package_folder

JAR = "meteor-1.5.jar"
_SEPARATOR = "|||"


class Meteor:
    """One running METEOR process (English, `-norm`), spoken to line by line."""

    def __init__(self) -> None:
        folder = package_folder("meteor")
        # memory and options as in pycocoevalcap
        command = [str(find_java()), *JAVA_OPTIONS, "-Xmx2G", "-jar", str(folder / JAR)]
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            [*command, "-", "-", "-stdio", "-l", "en", "-norm"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def score(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
        """METEOR of the corpus (from the summed statistics, not a mean) and of each item; the texts are tokens."""
        statistics = [
            self._ask(f" {_SEPARATOR} ".join(["SCORE", *map(_plain, refs), _plain(hypothesis)]))
            for hypothesis, refs in zip(hypotheses, references, strict=True)
        ]
        self._say(f" {_SEPARATOR} ".join(["EVAL", *statistics]))
        each = [float(self._hear()) for _ in statistics]
        return float(self._hear()), each

    @property
    def pid(self) -> int:
        """The process id of METEOR."""
        return self._process.pid

    def is_usable(self) -> bool:
        """Whether it still runs, and is ours: a forked child must not talk into its parent's pipe."""
        return self.owner == os.getpid() and self._process.poll() is None

    def close(self) -> None:
        """End the process; does nothing to one that a fork inherited."""
        if self.owner != os.getpid():
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # closing writes out what the dead process never took
                    pipe.close()

    def _ask(self, line: str) -> str:
        self._say(line)
        return self._hear()

    def _say(self, line: str) -> None:
        try:
            pipe = _open(self._process.stdin)
            pipe.write(f"{line}\n".encode("utf-8", errors="replace"))
            pipe.flush()
        except (BrokenPipeError, ValueError) as error:
            raise JavaError(f"METEOR stopped (exit code {self._process.poll()})") from error

    def _hear(self) -> str:
        line = _open(self._process.stdout).readline().decode().strip()
        if not line:
            raise JavaError(f"METEOR stopped (exit code {self._process.poll()})")
        return line


def meteor(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
    """METEOR by this Python process's own METEOR; a process that has died or misbehaves is replaced, once."""
    global _running
    with _lock:
        for attempt in (1, 2):
            if _running is None or not _running.is_usable():
                _running = Meteor()
            try:
                return _running.score(hypotheses, references)
            except BaseException as error:
                # after any interruption (Ctrl-C too) its pipe holds answers to questions no longer asked
                release()
                if attempt == 2 or not isinstance(error, JavaError | ValueError):
                    raise
    raise AssertionError("unreachable")


_running: Meteor | None = None
_lock = Lock()


def release() -> None:
    """End the kept process, if any, and give back its memory (about 1 GB); the next call starts another."""
    global _running
    if _running is not None:
        _running.close()
    _running = None


atexit.register(release)


def _plain(text: str) -> str:
    """A text that cannot be taken for several: without METEOR's separator (nor the blanks that leaves)."""
    return text.replace(_SEPARATOR, "").replace("  ", " ")


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise JavaError("METEOR has no pipe")
    return pipe
