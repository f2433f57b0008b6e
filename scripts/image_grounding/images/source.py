# SPDX-License-Identifier: Apache-2.0
"""Where image bytes come from: the one place that opens a source, and fingerprints it."""

import contextlib
import hashlib
import io
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from image_grounding.errors import SampleError, StoreError
from image_grounding.storage import store
from image_grounding.storage.address import is_address, shown
from image_grounding.storage.facts import Facts, ObjectTooLargeError

# Where an image is: a path, or an address.
Source = str | os.PathLike[str]
# Why a picture whose store did not give it has failed; the next run asks for it.
UNAVAILABLE = "image_unavailable"

MAX_FILE_PIXELS = 200_000_000
# More than any picture of so many pixels takes.
_MAX_FILE_BYTES = 4 * MAX_FILE_PIXELS
# The header of nearly any picture is in so many first bytes.
_HEAD_BYTES = 1 << 16
# Objects whose facts are remembered.
_FACTS_KEPT = 4096


@dataclass(frozen=True)
class SourceBytes:
    """An image file as it is.

    Attributes:
        data: all of it.
        fingerprint: ``size`` in bytes, ``mtime_ns`` or the ``version`` that a store gives, and
            ``sha256``; see ``is_unchanged``.
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
        if is_address(source):
            yield io.BytesIO(_fetch(os.fspath(source))[0])
            return
        _check_file(source)
        with open(source, "rb") as file:
            yield file


def read_head(address: str) -> BinaryIO:
    """The first bytes of an image at an address; raises SampleError as ``opened``."""
    with sample_errors(address):
        return io.BytesIO(store.read(address, _HEAD_BYTES, head=True)[0])


@contextlib.contextmanager
def sample_errors(source: Source) -> Iterator[None]:
    """What goes wrong with an image costs its samples, never the run.

    Raises:
        SampleError: ``image_missing``, ``image_unreadable``, ``image_too_large``, or
            ``image_unavailable`` where a store does not give it.
    """
    try:
        yield
    except SampleError:
        raise
    except StoreError as error:
        raise SampleError(UNAVAILABLE, str(error)) from None
    except (FileNotFoundError, NotADirectoryError):
        raise SampleError("image_missing", f"no such image: {_shown(source)}") from None
    except MemoryError:
        raise SampleError("image_too_large", f"no memory to decode {_shown(source)}") from None
    except Exception as error:  # decoders raise nearly anything on a broken file
        unreadable = isinstance(error, OSError) and error.strerror
        message = (
            f"cannot read the image {_shown(source)}: {unreadable}"
            if unreadable
            else f"cannot decode the image {_shown(source)}: {_reason(error)}"
        )
        raise SampleError("image_unreadable", message) from None


def read(source: Source) -> SourceBytes:
    """All bytes of an image source, with its fingerprint; raises SampleError as ``opened``."""
    mark: dict[str, Any]
    if is_address(source):
        with sample_errors(source):
            data, facts = _fetch(os.fspath(source))
        _remember(os.fspath(source), facts)
        mark = {"size": len(data), "version": facts.version}
    else:
        with opened(source) as file:
            data = file.read()
            status = os.fstat(file.fileno())
        mark = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    return SourceBytes(data, {**mark, "sha256": hashlib.sha256(data).hexdigest()})


def look(address: str) -> None:
    """Ask the store which version of an image it has, for ``is_unchanged``.

    One that does not answer, or has none, leaves it at what is known.
    """
    with contextlib.suppress(StoreError, OSError):
        _remember(address, store.look(address))


def _fetch(address: str) -> tuple[bytes, Facts]:
    try:
        return store.read(address, _MAX_FILE_BYTES)
    except ObjectTooLargeError as error:
        message = f"{_shown(address)} has {error.size} bytes, over 800 million"
        raise SampleError("image_too_large", message) from None


_facts: OrderedDict[str, Facts] = OrderedDict()
_facts_lock = threading.Lock()


def _remember(address: str, facts: Facts) -> None:
    with _facts_lock:
        _facts[address] = facts
        _facts.move_to_end(address)
        while len(_facts) > _FACTS_KEPT:
            _facts.popitem(last=False)


def _shown(source: Source) -> str:
    return shown(source) if isinstance(source, str) and is_address(source) else str(source)


def is_unchanged(source: Source, fingerprint: Mapping[str, Any]) -> bool:
    """Whether ``source`` still holds what ``fingerprint`` was taken from.

    Looks at the size and time first and reads the file only where the time differs (a copy).
    A file that is gone counts as the same: what was made from it stands. So does what is at an
    address, as long as ``look`` or ``read`` have not seen another version there.
    """
    if is_address(source):
        return _is_same(_facts.get(os.fspath(source)), fingerprint)
    try:
        status = os.stat(source)
        if status.st_size != fingerprint.get("size"):
            return False
        if status.st_mtime_ns == fingerprint.get("mtime_ns"):
            return True
        return _digest(os.fspath(source), status.st_mtime_ns) == fingerprint.get("sha256")
    except (OSError, ValueError):
        return True


def _is_same(now: Facts | None, then: Mapping[str, Any]) -> bool:
    """Whether an object is what it was, by its version; one that was a file then, by its size."""
    if now is None:
        return True
    if now.version and then.get("version"):
        return bool(now.version == then["version"])
    return now.size is None or now.size == then.get("size")


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
