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
from typing import Any, BinaryIO, cast

from image_grounding.errors import InputChangedError, InputError, OutputError, StoreError
from image_grounding.files import open_lines, require_file
from image_grounding.storage import store
from image_grounding.storage.address import is_address
from image_grounding.storage.facts import Facts

_BLOCK = 1 << 20
# Device, inode, size, times of the last write and of the last change of any kind.
_Identity = tuple[int, int, int, int, int]


class InputFile:
    """An input file, which is read several times.

    A run reads a copy of it, so that nothing is lost when somebody writes to the file meanwhile.

    Args:
        path: the file, or its address in a store; ``.gz`` is unpacked on the way.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._address = path if isinstance(path, str) and is_address(path) else None
        self._file = Path() if self._address else Path(path)
        self._packed = str(path).endswith(".gz")
        self._facts: Facts | None = None
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
            InputError: a store does not give it.
        """
        if self._address and not self._copy:  # fetched once, whoever reads it
            copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
            self._fetch(self._address, copy, Path(tempfile.gettempdir()))
            self._copy = copy
        if self._copy:
            with _again(self._copy, packed=self._packed) as file:
                yield file
            return
        self._seen = self._seen or _identity(os.stat(self._file))
        with open_lines(self._file) as file:
            yield file
        if _identity(os.stat(self._file)) != self._seen:
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
        if self._address:
            with _nameless(folder) as self._copy:
                self._fetch(self._address, self._copy, folder)
                try:
                    yield
                finally:
                    self._copy = None
            return
        try:
            require_file(self._file)
            source = self._file.open("rb")
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

    def mark(self) -> list[Any]:
        """What is other once the file holds other lines, fit for JSON; empty where it is gone."""
        with contextlib.suppress(OSError, StoreError):
            if self._address:
                facts = store.look(self._address)
                return [facts.size, facts.version]
            status = os.stat(self._file)
            return [status.st_size, status.st_mtime_ns]
        return []

    def change(self) -> InputChangedError | None:
        """What has become of the file since it was copied; None where it holds the same."""
        assert self._copy
        how = "it cannot be read any more"
        with contextlib.suppress(OSError):
            if self._is_same(self._copy):
                return None
            how = "it holds other lines now"
        return InputChangedError(
            f"the input {self.path} changed while the run was at work: {how}. The results are of "
            "what it held when the run began"
        )

    def _is_same(self, copy: BinaryIO) -> bool:
        """Whether the file holds what the copy does; raises OSError where it is gone."""
        if self._address:
            with contextlib.suppress(StoreError):  # whatever is wrong with the store for now
                return store.look(self._address) == self._facts
            return True
        if _identity(os.stat(self._file)) == self._seen:
            return True
        require_file(self._file)
        with self._file.open("rb") as now:
            return _equal(copy, now)

    def _fetch(self, address: str, copy: BinaryIO, folder: Path) -> None:
        try:
            self._facts = store.look(address)
            for block in store.blocks(address, self._facts):
                _write(copy, block, folder)
                self._hash.update(block)
            changed = store.look(address) != self._facts
        except FileNotFoundError:
            raise InputError(f"cannot read the input {address}: there is no such object") from None
        except StoreError as error:
            raise InputError(f"cannot read the input {address}: {error}") from None
        if changed:
            raise InputChangedError(f"the input {self.path} changed while it was read")


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
