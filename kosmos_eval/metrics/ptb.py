"""Captions into tokens, by the Stanford PTB tokenizer that pycocoevalcap ships and all published figures use.

The jar is run by us and not through pycocoevalcap's `PTBTokenizer`, which writes a file into its own package folder (no
good where that is read-only), decodes by the locale, and silently shifts all captions by one where a caption holds a
line separator other than a newline. What comes out is the same, which the golden test proves.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from threading import Lock

from kosmos_eval.metrics.java import JAVA_OPTIONS, JavaError, find_java, package_folder

JAR = "stanford-corenlp-3.4.1.jar"

# Java's line ends, and Python's: one caption must stay one line
_LINE_ENDS = str.maketrans(dict.fromkeys("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", " "))

# An abbreviation's period at a caption's end ("vitamin C.") is read by what the next line starts with. A line of our
# own after each caption makes the tokens of a caption a function of that caption alone, so that a limit cannot change
# them; a capital letter is what follows mostly, captions being sentences.
_AFTER_EACH = "A"

_CACHE_LIMIT = 400_000
_cache: dict[str, str] = {}
_lock = Lock()


def clean_caption(text: str) -> str:
    """A caption as one line, without outer blanks."""
    return text.translate(_LINE_ENDS).strip()


def tokenize(captions: Sequence[str]) -> list[str]:
    """The tokens of each caption, lower-cased, without punctuation, joined by blanks; empty for an empty caption."""
    cleaned = [clean_caption(caption) for caption in captions]
    with _lock:
        if len(_cache) > _CACHE_LIMIT:
            _cache.clear()
        new = [caption for caption in dict.fromkeys(cleaned) if caption not in _cache]
        _cache.update(zip(new, _run(new), strict=True))
        return [_cache[caption] for caption in cleaned]


def _run(captions: Sequence[str]) -> list[str]:
    if not captions:
        return []
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

    folder = package_folder("tokenizer")
    command = [str(find_java()), *JAVA_OPTIONS, "-cp", str(folder / JAR), "edu.stanford.nlp.process.PTBTokenizer"]
    text = "".join(f"{caption}\n{_AFTER_EACH}\n" for caption in captions)
    done = subprocess.run(
        [*command, "-preserveLines", "-lowerCase"],
        input=text.encode("utf-8", errors="replace"),
        capture_output=True,
        check=False,
    )
    lines = done.stdout.decode("utf-8", errors="replace").split("\n")[:-1]
    if done.returncode != 0 or len(lines) != 2 * len(captions):
        complaint = done.stderr.decode(errors="replace").strip().splitlines()
        raise JavaError(
            f"the PTB tokenizer gave {len(lines)} lines for {2 * len(captions)} (exit code {done.returncode}):"
            f" {complaint[-1] if complaint else 'it said nothing'}"
        )
    dropped = frozenset(PUNCTUATIONS)
    return [" ".join(word for word in line.split(" ") if word and word not in dropped) for line in lines[::2]]
