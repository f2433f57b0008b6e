# SPDX-License-Identifier: Apache-2.0
"""The bytes of an input: the same ones at every reading, or an error that says they are not."""

import contextlib
import gzip
import hashlib
import os
import tempfile
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO, cast

from image_grounding.errors import InputChangedError, InputError, OutputError
from image_grounding.files import open_lines, require_file

_BLOCK = 1 << 20
# Device, inode, size, times of the last write and of the last change of any kind.
_Identity = tuple[int, int, int, int, int]


class InputFile:
    """An input file, which is read several times.

    A run reads a copy of it, so that nothing is lost when somebody writes to the file meanwhile.

    Args:
        path: the file; ``.gz`` is unpacked on the way.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._copy: BinaryIO | None = None
        self._seen: _Identity | None = None
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 of the copy's bytes, in hexadecimal."""
        return self._hash.hexdigest()

    @contextlib.contextmanager
    def lines(self) -> Iterator[BufferedIOBase]:
        """A stream of byte lines.

        Raises:
            InputChangedError: another content than at the first reading, and there is no copy.
        """
        if self._copy:
            with _again(self._copy, packed=self.path.suffix == ".gz") as file:
                yield file
            return
        self._seen = self._seen or _identity(os.stat(self.path))
        with open_lines(self.path) as file:
            yield file
        if _identity(os.stat(self.path)) != self._seen:
            raise InputChangedError(f"the input {self.path} changed while it was read")

    @contextlib.contextmanager
    def held(self, folder: Path) -> Iterator[None]:
        """In the block all readings are of what the file holds now.

        Args:
            folder: made where it is not there; the copy lies in it without a name, and goes with
                the process.

        Raises:
            InputError: the file cannot be read.
            OutputError: the folder takes no copy.
        """
        try:
            require_file(self.path)
            source = self.path.open("rb")
        except OSError as error:
            raise InputError(f"cannot read the input {self.path}: {error.strerror}") from None
        with source, _nameless(folder) as self._copy:
            self._seen = _identity(os.fstat(source.fileno()))
            while block := source.read(_BLOCK):
                _write(self._copy, block, folder)
                self._hash.update(block)
            if _identity(os.fstat(source.fileno())) != self._seen:
                raise InputChangedError(f"the input {self.path} changed while it was read")
            try:
                yield
            finally:
                self._copy = None

    def change(self) -> InputChangedError | None:
        """What has become of the file since it was copied; None where it holds the same."""
        assert self._copy
        how = "it cannot be read any more"
        with contextlib.suppress(OSError):
            if _identity(os.stat(self.path)) == self._seen:
                return None
            require_file(self.path)
            with self.path.open("rb") as now:
                if _equal(self._copy, now):
                    return None
            how = "it holds other lines now"
        return InputChangedError(
            f"the input {self.path} changed while the run was at work: {how}. The results are of "
            "what it held when the run began"
        )


def _identity(status: os.stat_result) -> _Identity:
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (status.st_dev, status.st_ino, status.st_size, *times)


@contextlib.contextmanager
def _nameless(folder: Path) -> Iterator[BinaryIO]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = cast(BinaryIO, tempfile.TemporaryFile(dir=folder))  # noqa: SIM115
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from None
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):  # a full disk does not take what is left of it, either
            file.close()


def _write(file: BinaryIO, block: bytes, folder: Path) -> None:
    try:
        file.write(block)
        file.flush()
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from None


@contextlib.contextmanager
def _again(file: BinaryIO, *, packed: bool) -> Iterator[BufferedIOBase]:
    """``file`` from its start, however far an earlier reading came."""
    file.seek(0)
    with open(file.fileno(), "rb", closefd=False) as raw:
        yield cast(BufferedIOBase, gzip.GzipFile(fileobj=raw) if packed else raw)


def _equal(copy: BinaryIO, other: BinaryIO) -> bool:
    with _again(copy, packed=False) as mine:
        while True:
            block = mine.read(_BLOCK)
            if block != other.read(_BLOCK):
                return False
            if not block:
                return True
