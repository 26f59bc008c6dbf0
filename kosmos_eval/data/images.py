"""Pictures: references that are cheap to make, and their decoding when pixels are needed."""

from __future__ import annotations

import os
import re
import stat
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.data.files import checked_text
from kosmos_eval.errors import DataError, ImageError
from kosmos_eval.prompt import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

MAX_PIXELS = 64_000_000
"""Far more than a photograph of the six benchmarks has; more is taken for a decompression bomb."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Formats that are decoded. Pillow knows more, some of which start other programs (EPS)."""

FOLLOW_LINKS = "KOSMOS_EVAL_FOLLOW_LINKS"
"""Environment variable: the links in data folders are the user's own."""

_OUTSIDE = re.compile(r"^/|//|\\|\0|(^|/)[A-Za-z]:")
"""An absolute path, also after a folder that a reader put before it, or what is one on Windows."""

_RECORD = re.compile(r"(?P<array>[A-Za-z_]\w*)/(?P<row>\d{1,9})")


def ref(data: Path, name: str, record: str | None = None) -> Image:
    """An image inside a data folder, by its path relative to it. Looks at no file: that is `load`'s and `data check`'s.

    Raises DataError for a name that leads out of the folder; names come from data files, which are not trusted.
    """
    if not name or _OUTSIDE.search(name) or ".." in name.split("/"):
        raise DataError(f"{data}: image name {name[:100]!r} does not lie inside the data folder")
    if not name.isascii():
        checked_text(name, f"{data}: image name")
    return Image(name, data / name, record)


def load(image: Image) -> PILImage:
    """The picture in RGB, decoded and independent of its file.

    This is `PIL.Image.open(path).convert("RGB")`, as in the evaluation code of KOSMOS-2's authors: the first frame,
    the alpha channel dropped (not blended), EXIF orientation ignored.
    """
    if image.pil is not None:
        return image.pil.convert("RGB")
    if image.path is None:
        raise ImageError(f"image {image.name!r} has neither a file nor pixels")
    _check_inside(image.path, image.name)
    if image.record is not None:
        return _load_record(image.path, image.record)
    return _load_file(image.path)


def _load_file(path: Path) -> PILImage:
    _check_regular(path)
    return _decoded(path, str(path))


def _decoded(source: Path | BytesIO, where: str) -> PILImage:
    """An encoded picture, in a file or in memory; `where` opens the error messages."""
    import PIL.Image

    try:
        with PIL.Image.open(source, formats=FORMATS) as picture:
            _check_size(where, *picture.size)
            return picture.convert("RGB")
    except ImageError:
        raise
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        raise ImageError(f"{where}: the image is larger than {MAX_PIXELS} pixels; is it what it should be?") from None
    except PIL.UnidentifiedImageError:
        raise ImageError(f"{where}: not an image ({', '.join(FORMATS)}); fetch the file again") from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        reason = " ".join(str(error).split())[:120]
        raise ImageError(f"{where}: the image is truncated or corrupt ({reason}); fetch the file again") from None


def _load_record(path: Path, record: str) -> PILImage:
    """`image/3`: row 3 of an array of pictures in an .npz, or of a column of encoded pictures in an Arrow or
    a parquet file."""
    match = _RECORD.fullmatch(record)
    if match is None:
        raise ImageError(f"{path}: no record {record!r}; records are written like 'image/3'")
    name, row = match["array"], int(match["row"])
    try:
        if path.suffix == ".parquet":  # need not be on this machine
            return _load_cell(path, name, row)
        _check_regular(path)
        return _load_cell(path, name, row) if path.suffix == ".arrow" else _load_panel(path, name, row)
    except ImageError:
        raise
    except DataError as error:
        raise ImageError(str(error)) from None


def _load_cell(path: Path, column: str, row: int) -> PILImage:
    from kosmos_eval.data import arrow, stream

    read = stream.picture_bytes if path.suffix == ".parquet" else arrow.picture_bytes
    return _decoded(BytesIO(read(path, column, row)), f"{path}: column {column!r}, row {row}")


def _load_panel(path: Path, name: str, row: int) -> PILImage:
    """A picture of an array of grey or RGB pictures in uint8."""
    import PIL.Image

    from kosmos_eval.data.npz import read_array

    array = read_array(path, name)
    grey_or_rgb = array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)
    if array.dtype != "uint8" or not grey_or_rgb or 0 in array.shape:
        raise ImageError(f"{path}: array {name!r} is {array.dtype} {array.shape}, not pictures in uint8")
    if row >= len(array):
        raise ImageError(f"{path}: no record '{name}/{row}'; the array has {len(array)} pictures")
    _check_size(str(path), array.shape[2], array.shape[1])
    return PIL.Image.fromarray(array[row]).convert("RGB")


def _check_inside(path: Path, name: str) -> None:
    """Refuses a picture of a data folder that a link leads out of it: an archive may hold links to anything."""
    parts = Path(name).parts
    if name == str(path) or path.parts[-len(parts) :] != parts or os.environ.get(FOLLOW_LINKS):
        return  # a picture that its user named, or who vouches for the links
    data = os.path.realpath(path.parents[len(parts) - 1])
    if not Path(os.path.realpath(path)).is_relative_to(data):
        raise ImageError(
            f"{path}: a link leads out of the data folder; if it is your own, set {FOLLOW_LINKS}=1"
        )


def _check_regular(path: Path) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise ImageError(f"{path}: no such image file; `kosmos-eval data check` lists what is missing") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not stat.S_ISREG(mode):
        raise ImageError(f"{path}: is not a file")


def _check_size(where: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{where}: {width}x{height} pixels, more than the {MAX_PIXELS} an image may have")
