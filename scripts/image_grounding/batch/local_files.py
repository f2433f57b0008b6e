# SPDX-License-Identifier: Apache-2.0
"""Files of the results folder that are sent or received; what fails on disk is an OutputError."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from image_grounding.errors import OutputError


@contextlib.contextmanager
def opened(path: Path, mode: Literal["rb", "wb"]) -> Iterator[BinaryIO]:
    """A file for its bytes; raises OutputError where it cannot be opened."""
    try:
        file = open(path, mode)  # noqa: SIM115
    except OSError as error:
        raise _cannot("read" if mode == "rb" else "write", path, error) from None
    with file:
        yield file


def write(file: BinaryIO, data: bytes) -> None:
    """Write to an open file; raises OutputError."""
    try:
        file.write(data)
    except OSError as error:
        raise _cannot("write", Path(file.name), error) from None


def _cannot(what: str, path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot {what} {path}: {error.strerror}")
