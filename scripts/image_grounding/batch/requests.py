# SPDX-License-Identifier: Apache-2.0
"""The request file that is being written: questions go to disk as they come."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from image_grounding.batch.journal import Entry
from image_grounding.batch.queue import Limits
from image_grounding.errors import OutputError

_PREFIX = "image-grounding-"
_BLOCK = 1 << 20


class RequestFile:
    """One request file, up to the limits of a job.

    Args:
        folder: where it lies.
        limits: of a job.

    Attributes:
        tag: the name of the job that it is for; no other one ever has it.
        entries: its questions.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.tag = f"{_PREFIX}{uuid4().hex[:16]}"
        self.path = path_of(folder, self.tag)
        self.entries: list[Entry] = []
        self._limits = limits
        self._bytes = 0
        self._file: BinaryIO | None = None

    def has_room_for(self, line: bytes) -> bool:
        """Whether a line fits in, too; one that no file has room for goes alone."""
        full = len(self.entries) >= self._limits.requests
        return not self.entries or not (full or self._bytes + len(line) > self._limits.bytes)

    def add(self, entry: Entry, line: bytes) -> None:
        """Write a question's line; raises OutputError."""
        with self._on_disk():
            self._file = self._file or open(self.path, "wb", buffering=_BLOCK)  # noqa: SIM115
            self._file.write(line)
        self._bytes += len(line)
        self.entries.append(entry)

    def close(self) -> None:
        """End the file, so that it outlasts a crash; raises OutputError."""
        if not self._file:
            return
        with self._on_disk():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        """Remove the file: nothing of it was handed over."""
        if self._file:
            with self._on_disk():
                self._file.close()
            self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _on_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from None


def path_of(folder: Path, tag: str) -> Path:
    """Where the request file of a job lies."""
    return folder / f"{tag}.jsonl"


def remove_strays(folder: Path, tags: set[str]) -> None:
    """Remove request files of runs that were killed before they wrote their job down."""
    for path in folder.glob(f"{_PREFIX}*.jsonl"):
        if path.stem not in tags and "." not in path.stem:
            path.unlink(missing_ok=True)
