# SPDX-License-Identifier: Apache-2.0
"""How an export names its images: as the records do, absolutely, or as copies of its own."""

import os
import re
import shutil
from enum import StrEnum
from pathlib import Path, PurePosixPath

from image_grounding.boxes.frames import Transport
from image_grounding.errors import OutputError, SampleError
from image_grounding.images.pixels import open_upright, read_header
from image_grounding.images.source import MAX_FILE_PIXELS, Source, read
from image_grounding.input.samples import make_sample_id
from image_grounding.results.reading import Record, Results
from image_grounding.storage.address import is_address

_HEAD_BYTES = 64 * 1024
_FULL_SIZE = Transport(max_pixels=MAX_FILE_PIXELS)


class Paths(StrEnum):
    """What image paths in an export are."""

    RECORDS = "records"
    ABSOLUTE = "absolute"


class Images:
    """Names images and, with ``copy``, copies them to ``folder/images``.

    A copy is always upright, as the boxes are: a file that EXIF turns is written anew, every
    other one byte by byte.

    Args:
        results: whose images they are.
        folder: where the export is written.
        home: where it will be when it is whole, absolute.
        paths: what paths are; those of copies are relative to ``home`` or absolute.
        copy: whether images are copied.
    """

    def __init__(
        self, results: Results, folder: Path, home: Path, paths: Paths, *, copy: bool
    ) -> None:
        self._results = results
        self._folder = folder
        self._home = home
        self._absolute = paths is Paths.ABSOLUTE
        self._copied = copy

    def name(self, record: Record) -> str:
        """The path that the export gives for the record's image.

        Raises:
            SampleError: ``image_missing`` (or unusable) or ``image_changed``; copies only.
            OutputError: a copy cannot be written.
        """
        if self._copied:
            name = self._copy(self._results.image_of(record), record)
            return str(self._home / name) if self._absolute else name
        if self._absolute:
            source = self._results.image_of(record)
            return str(source) if is_address(source) else str(Path(source).absolute())
        return record.image_path

    def is_turned(self, record: Record) -> bool:
        """Whether the export names a file that is stored turned and has EXIF to undo it."""
        if self._copied:
            return False
        source = self._results.image_of(record)
        header = read_header(source) if _may_have_exif(source) else None
        return header is not None and header.orientation > 1

    def _copy(self, source: Source, record: Record) -> str:
        header = read_header(source) if is_address(source) or os.path.isfile(source) else None
        if header is None:
            raise SampleError("image_missing", f"no usable image: {source}")
        if header.size != record.size:
            raise SampleError("image_changed", f"not the size of its record: {source}")
        upright = header.orientation > 1
        name = f"images/{_safe_name(self._results.image_key(record), '.jpg' if upright else None)}"
        target = self._folder / name
        if not target.exists():
            try:
                target.parent.mkdir(exist_ok=True)
                if upright:
                    open_upright(source, _FULL_SIZE).save(target, "JPEG", quality=95)
                elif is_address(source):
                    target.write_bytes(read(source).data)
                else:
                    shutil.copyfile(source, target)
            except OSError as error:
                raise OutputError(f"cannot copy {source}: {error.strerror or error}") from error
        return name


def _may_have_exif(path: Source) -> bool:
    """False for PNG files without EXIF before their pixels: nearly all of them.

    Pillow decodes such a file to look behind the pixels, at some milliseconds each.
    """
    try:
        if is_address(path):
            return True
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return False
    return not head.startswith(b"\x89PNG") or b"exif" in head.lower()


def image_id(image_key: str) -> str:
    """A name of letters, digits and a hash of the path: unique without a list of all names."""
    return make_sample_id(image_key, "")


def _safe_name(image_key: str, suffix: str | None) -> str:
    given = PurePosixPath(image_key).suffix.lower()
    suffix = suffix or (given if re.fullmatch(r"\.[a-z0-9]{1,5}", given) else "")
    return image_id(image_key) + suffix
