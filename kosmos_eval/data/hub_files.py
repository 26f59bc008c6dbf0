"""The files of a data set of the hub and their rows: through `datasets`, or read where they lie (see `stream`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kosmos_eval.data import stream
from kosmos_eval.data.arrow import row_count
from kosmos_eval.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

IMAGE = "image"
_PART = re.compile(r"-(?P<number>\d{5})-of-(?P<all>\d{5})\.parquet$")


class Rows(NamedTuple):
    """The rows of a split, and the files that hold their pictures: path and number of rows, in order."""

    table: Dataset
    parts: list[tuple[Path, int]]


def rows_of(data: Path, repo: str | None, split: str, streams: bool) -> Rows | None:
    """The rows of a split of a data set of the hub, or of a folder where `repo` is None; None where there are none.

    `streams`: files that are not in the hub's cache are read on the hub, unless that is forbidden.
    """
    from datasets.config import HF_DATASETS_OFFLINE

    if repo is not None and streams and not HF_DATASETS_OFFLINE and (not _files(data, split) or _missing(data, split)):
        return _streamed(data, split)
    if repo is not None:
        snapshot(repo, data.name, _patterns(split))
    return _local(data, split)


def snapshot(repo: str, revision: str | None, patterns: list[str]) -> Path:
    """The folder of a data set's files in the hub's cache, named by the commit.

    Downloads unless HF_HUB_OFFLINE or HF_DATASETS_OFFLINE says not to.
    """
    from datasets.config import HF_DATASETS_OFFLINE
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            repo, repo_type="dataset", revision=revision, allow_patterns=patterns, local_files_only=HF_DATASETS_OFFLINE
        )
        return Path(folder)
    except Exception as error:  # the hub client's errors have no common base
        reason = " ".join(str(error).split())[:100]
        at = f" --revision {revision}" if revision else ""
        raise DataError(
            f"{repo}: not to be had from the hub ({type(error).__name__}: {reason}); where there is a network, run "
            f"`hf download {repo} --repo-type dataset{at}` first, or give --data hub:FOLDER or the official files"
        ) from None


def _local(data: Path, split: str) -> Rows | None:
    import datasets

    try:
        if (data / "dataset_dict.json").is_file():
            saved = data / split
            if not saved.is_dir():
                return None
            rows = datasets.Dataset.load_from_disk(str(saved))
        else:
            files = _files(data, split)
            if not files:
                return None
            if missing := _missing(data, split):
                raise DataError(f"{data}: {missing} more files of split {split!r} should be there; download it again")
            rows = datasets.load_dataset("parquet", data_files={"rows": [str(file) for file in files]}, split="rows")
        return Rows(rows, [(file, row_count(file)) for file in (Path(f["filename"]) for f in rows.cache_files)])
    except DataError:
        raise
    except Exception as error:  # pyarrow's and datasets' errors have no common base
        reason = " ".join(str(error).split())[:160]
        raise DataError(f"{data}: split {split!r} cannot be read ({type(error).__name__}: {reason})") from None


def _streamed(data: Path, split: str) -> Rows | None:
    import datasets
    import pyarrow as pa

    files = stream.listed(data, _patterns(split))
    if not files:
        return None
    tables = [stream.fields(file, IMAGE) for file in files]
    rows = datasets.Dataset(pa.concat_tables(tables))
    return Rows(rows, [(file, len(table)) for file, table in zip(files, tables, strict=True)])


def _files(data: Path, split: str) -> list[Path]:
    return sorted({file for pattern in _patterns(split) for file in data.glob(pattern)})


def _missing(data: Path, split: str) -> int:
    """How many of `NAME-00000-of-00002.parquet` are not there, as after a download that was stopped."""
    numbered = [match for file in _files(data, split) if (match := _PART.search(file.name))]
    expected = max((int(match["all"]) for match in numbered), default=0)
    return expected - len({int(match["number"]) for match in numbered})


def _patterns(split: str) -> list[str]:
    """How the parquet files of a split are named: by `push_to_hub`, by the hub's conversion, or by hand."""
    return [p for s in (f"{split}-*.parquet", f"{split}/*.parquet", f"{split}.parquet") for p in (s, f"*/{s}")]
