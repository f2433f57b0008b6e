# SPDX-License-Identifier: Apache-2.0
"""Files: atomic writes, JSONL that may be compressed, one run at a time in a folder."""

import contextlib
import gzip
import json
import os
import re
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any

import filelock

from image_grounding.errors import OutputError

_SURROGATE = re.compile("[\ud800-\udfff]")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Strict JSON text; unpaired surrogates, which UTF-8 cannot hold, stay escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    if _SURROGATE.search(text):
        text = json.dumps(value, ensure_ascii=True, indent=indent, allow_nan=False)
    return text


def write_atomic(path: Path, text: str) -> None:
    """Write ``path`` whole or not at all, even when killed.

    Raises:
        OutputError: no space, no permission, or the folder is gone.
    """
    with atomic_writer(path) as file:
        file.write(text)


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[str]]:
    """A text file that takes its name only when the block ends well.

    Raises:
        OutputError: as for ``write_atomic``; the old file, if any, is untouched.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        raise


@contextlib.contextmanager
def open_lines(path: Path) -> Iterator[BufferedIOBase]:
    """A JSONL file as a stream of byte lines; ``.gz`` is unpacked on the way."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        yield file


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; the system lets go of it when the process dies.

    Raises:
        OutputError: another run is at work in it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise OutputError(
            f"another run is writing to {folder}; wait for it or choose another results_dir"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
