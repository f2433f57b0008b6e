# SPDX-License-Identifier: Apache-2.0
"""The streams of a tool: text that is anybody's, and readers that go away."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast


def printable(text: str) -> str:
    """``text`` without what moves a cursor or recolours: only its line breaks stay."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


class _Lasting:
    """A stream whose reader may go away: what is written from then on goes nowhere."""

    def __init__(self, stream: TextIO, expected: type[OSError]) -> None:
        self._stream = stream
        self._expected = expected

    def write(self, text: str) -> int:
        """As of any stream."""
        with self._outlasting():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As of any stream."""
        with self._outlasting():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _outlasting(self) -> Iterator[None]:
        try:
            yield
        except self._expected:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def outlast_readers() -> None:
    """Let no closed terminal or pipe end a run that has results to write.

    A stream that was closed from the start is opened, too: its number must not go to a file
    of results.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    # What cannot be written on stdout for want of space is not to be lost in silence.
    for name, number, expected in (("stdout", 1, BrokenPipeError), ("stderr", 2, OSError)):
        stream = getattr(sys, name) or os.fdopen(number, "w", encoding="utf-8", closefd=False)
        if not isinstance(stream, _Lasting):
            setattr(sys, name, cast(TextIO, _Lasting(stream, expected)))
