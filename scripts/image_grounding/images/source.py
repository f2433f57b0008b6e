# SPDX-License-Identifier: Apache-2.0
"""Where image bytes come from: the one place that opens a source, and fingerprints it."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from image_grounding.errors import SampleError

# Where an image is: a path.
Source = str | os.PathLike[str]

MAX_FILE_PIXELS = 200_000_000
# More than any picture of so many pixels takes.
_MAX_FILE_BYTES = 4 * MAX_FILE_PIXELS


@dataclass(frozen=True)
class SourceBytes:
    """An image file as it is.

    Attributes:
        data: all of it.
        fingerprint: ``size`` in bytes, ``mtime_ns`` and ``sha256``; see ``is_unchanged``.
    """

    data: bytes
    fingerprint: dict[str, Any]


@contextlib.contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """An image source as a stream of bytes, for what its first ones tell.

    Raises:
        SampleError: as ``sample_errors``, in the block, too.
    """
    with sample_errors(source):
        _check_file(source)
        with open(source, "rb") as file:
            yield file


@contextlib.contextmanager
def sample_errors(source: Source) -> Iterator[None]:
    """What goes wrong with an image costs its samples, never the run.

    Raises:
        SampleError: ``image_missing``, ``image_unreadable`` or ``image_too_large``.
    """
    try:
        yield
    except SampleError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise SampleError("image_missing", f"no such image: {source}") from None
    except MemoryError:
        raise SampleError("image_too_large", f"no memory to decode {source}") from None
    except Exception as error:  # decoders raise nearly anything on a broken file
        unreadable = isinstance(error, OSError) and error.strerror
        message = (
            f"cannot read the image {source}: {unreadable}"
            if unreadable
            else f"cannot decode the image {source}: {_reason(error)}"
        )
        raise SampleError("image_unreadable", message) from None


def read(source: Source) -> SourceBytes:
    """All bytes of an image source, with its fingerprint; raises SampleError as ``opened``."""
    with opened(source) as file:
        data = file.read()
        status = os.fstat(file.fileno())
    mark = {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return SourceBytes(data, mark)


def is_unchanged(source: Source, fingerprint: Mapping[str, Any]) -> bool:
    """Whether ``source`` still holds what ``fingerprint`` was taken from.

    Looks at the size and time first and reads the file only where the time differs (a copy).
    A file that is gone counts as the same: what was made from it stands.
    """
    try:
        status = os.stat(source)
        if status.st_size != fingerprint.get("size"):
            return False
        if status.st_mtime_ns == fingerprint.get("mtime_ns"):
            return True
        return _digest(os.fspath(source), status.st_mtime_ns) == fingerprint.get("sha256")
    except (OSError, ValueError):
        return True


@lru_cache(maxsize=4096)
def _digest(source: str, mtime_ns: int) -> str:
    """Of a file that several samples and steps look at."""
    with open(source, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_file(source: Source) -> None:
    """Before it is opened: a pipe would wait for ever, a device never end."""
    status = os.stat(source)
    if stat.S_ISDIR(status.st_mode):
        raise SampleError("image_unreadable", f"cannot read the image {source}: Is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise SampleError("image_unreadable", f"cannot read the image {source}: it is no file")
    if status.st_size > _MAX_FILE_BYTES:
        message = f"{source} has {status.st_size} bytes, over 800 million"
        raise SampleError("image_too_large", message)


def _reason(error: Exception) -> str:
    # Pillow's message for an unknown format names a memory address.
    unknown = type(error).__name__ == "UnidentifiedImageError"
    return "not a known image format" if unknown else str(error)
