# SPDX-License-Identifier: Apache-2.0
"""The streams of a tool: text that is anybody's, and readers that go away."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from image_grounding.errors import OutputError


def printable(text: str, *, indent: str = "  ") -> str:
    """``text`` without what moves a cursor or recolours.

    Its line breaks stay, but what follows one is set in: it looks like no message of its own.
    """
    kept = "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
    return kept.replace("\n", f"\n{indent}")


class _Lasting:
    """A stream whose reader may go away: what is written from then on goes nowhere.

    Args:
        stream: what is written to.
        name: of the stream, where it is an error that it takes no more; a reader that went away
            is none.
    """

    def __init__(self, stream: TextIO, name: str | None) -> None:
        self._stream = stream
        self._name = name
        self._lost: str | None = None

    def write(self, text: str) -> int:
        """As of any stream."""
        with self._outlasting():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As of any stream; the first one after something was lost says so."""
        with self._outlasting():
            self._stream.flush()
        lost, self._lost = self._lost, None
        if lost:
            raise OutputError(f"cannot write to {self._name}: {lost}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _outlasting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            if self._name and not isinstance(error, BrokenPipeError):
                self._lost = error.strerror or str(error)


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
    for name, number, lost in (("stdout", 1, "stdout"), ("stderr", 2, None)):
        stream = getattr(sys, name) or os.fdopen(number, "w", encoding="utf-8", closefd=False)
        if not isinstance(stream, _Lasting):
            setattr(sys, name, cast(TextIO, _Lasting(stream, lost)))
