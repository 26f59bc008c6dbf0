"""Coverage-guided fuzzing of every file that comes from others (atheris: `pip install atheris`, Python 3.11 to 3.13).

    python tests/fuzz/fuzz_files.py TARGET [libFuzzer's options, such as -runs=10000 -max_total_time=600]
    python tests/fuzz/fuzz_files.py all -runs=10000

A target is a name of `fuzz_targets.TARGETS`; `all` takes one after the other, each in a process of its own. What
crashes is left as `crash-*` in the working directory: mend it, and keep the smallest case in `tests/test_fuzz.py`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["kosmos_eval"]):
    from fuzz_targets import TARGETS, Target


def fuzz(target: Target, options: list[str]) -> None:
    """Does not return: libFuzzer ends the process."""
    with tempfile.TemporaryDirectory() as scratch:
        (folder := Path(scratch, "files")).mkdir()
        (corpus := Path(scratch, "corpus")).mkdir()
        file = target.build(folder)
        (corpus / "valid").write_bytes(file.read_bytes())
        limits = ["-timeout=10", "-rss_limit_mb=2048", f"-max_len={2 * file.stat().st_size + 256}"]
        atheris.Setup([sys.argv[0], *limits, *options, str(corpus)], lambda content: target.survives(file, content))
        atheris.Fuzz()


def main(name: str, options: list[str]) -> int:
    by_name = {target.name: target for target in TARGETS}
    if name != "all":
        fuzz(by_name[name], options)
        return 0
    codes = {each: subprocess.run([sys.executable, __file__, each, *options]).returncode for each in by_name}
    failed = [each for each, code in codes.items() if code]
    print(f"{len(codes) - len(failed)} of {len(codes)} targets without a finding", *failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
