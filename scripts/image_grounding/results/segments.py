# SPDX-License-Identifier: Apache-2.0
"""Texts by sample id in files that only grow: one line a text, the latest of an id counts.

A process adds to a file of its own, a segment, so that several may be at work, none has to seek,
and what a kill cuts off is the end of one line. A million samples are a few files.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO

from image_grounding.results.places import MASK, OFFSET_BITS, Places, entry_of

_NAME = "segment-{:05d}.jsonl"
_IS_SEGMENT = re.compile(r"segment-(\d{5,})\.jsonl")
# Its name, its size in bytes, and when it was last written to, in ns.
SegmentState = tuple[str, int, int]
# How every line begins, and how one goes on that takes its id's text away.
_START = b'{"sample_id": "'
_GONE = b'", "gone": true}'
# Of one segment, where nobody wants less.
MOST_BYTES = 1 << 28
# More segments, or more bytes that count no more, are worth a fresh start.
_MOST_SEGMENTS, _MOST_WASTE = 64, 1 << 26
_FILES_OPEN = 16
# A line that is longer is no text of ours.
_LONGEST = 1 << 26


class Segments:
    """The texts of a folder.

    A store sees what was there when it was first asked, and what ``refresh`` finds since then.
    Where a text lies takes 16 bytes of memory.

    Args:
        folder: where the segments are; it may be missing.
        most_bytes: of one segment; then the next one begins.

    Attributes:
        damaged: how many whole lines were met that do not begin as a text does.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder
        self._most_bytes = most_bytes
        self.damaged = 0
        self._index: Places | None = None
        self._seen: dict[int, int] = {}  # bytes of each segment that are in the index
        self._files: dict[int, BinaryIO] = {}
        self._out: BinaryIO | None = None
        self._written = 0

    def get(self, sample_id: str) -> bytes | None:
        """The text of an id; None where there is none."""
        key = key_of(sample_id)
        place = None if key is None else self._indexed().find(key)
        line = None if place is None else self._line(place)
        return line if line and line.startswith(_line_start(sample_id)) else None

    def put(self, text: str) -> None:
        """Add a text: a JSON object in one line whose first key is ``sample_id``.

        Raises:
            OSError: it cannot be written; nothing of it is left.
        """
        self._write(text.encode("utf-8") + b"\n")

    def discard(self, sample_id: str) -> None:
        """Take the text of an id away; raises OSError."""
        if self._out is None and self.get(sample_id) is None:
            return
        self._write(_line_start(sample_id)[:-1] + _GONE + b"\n")

    def ids(self) -> Iterator[str]:
        """Ids that have a text, in the order in which their texts came."""
        for place in sorted(self._indexed().places()):
            if line := self._line(place):
                yield _id_of(line).decode()

    def refresh(self) -> int:
        """Take in what was added since; how many texts there are."""
        self._indexed().add(self._entries())
        return len(self._indexed())

    def state(self) -> list[SegmentState]:
        """The segments: as long as they are the same, so are the texts."""
        return [_state_of(path) for _, path in self._paths()]

    def keys_since(self, then: Iterable[SegmentState]) -> frozenset[int] | None:
        """Keys in segments that are new since a ``state``; None where one of then is not as it was.

        A process begins segments of its own, so that those of others stay as they are.
        """
        now = {_state_of(path): number for number, path in self._paths()}
        if not now.keys() >= (old := set(then)):
            return None
        new = [number for state, number in now.items() if state not in old]
        return frozenset(key for number in new for key in self._keys_in(number))

    def tidy(self) -> None:
        """Make one segment of many, or of many texts that count no more.

        For who holds the folder alone. Killed in the middle of it, everything is still there.

        Raises:
            OSError: it cannot be written.
        """
        old = self._paths()
        everything = sum(path.stat().st_size for _, path in old)
        if len(old) <= _MOST_SEGMENTS and everything <= _MOST_WASTE:
            return
        waste = everything - self._bytes_of_live(self.refresh())
        if len(old) <= _MOST_SEGMENTS and waste <= _MOST_WASTE:
            return
        name = self.folder / f".{_NAME.format(old[-1][0] + 1)}.tmp"
        try:
            with name.open("wb") as file:
                for place in sorted(self._indexed().places()):
                    file.write(self._line(place) or b"")
            name.rename(self.folder / _NAME.format(old[-1][0] + 1))
        except BaseException:
            with contextlib.suppress(OSError):
                name.unlink()
            raise
        self.close()
        for _, path in old:  # the oldest first: what took a text away outlives the text
            path.unlink()

    def close(self) -> None:
        """Close all files and forget what was seen of them."""
        for file in (*self._files.values(), *((self._out,) if self._out else ())):
            file.close()
        self._index, self._out = None, None
        self._files.clear()
        self._seen.clear()

    def _bytes_of_live(self, live: int) -> int:
        """About what the texts that count take, from a sample of them."""
        places = self._indexed().places()
        some = places[:: max(1, live // 1000)]
        return live * sum(len(self._line(place) or b"") for place in some) // max(len(some), 1)

    def _indexed(self) -> Places:
        if self._index is None:
            self._index = Places(self._entries())
        return self._index

    def _paths(self) -> list[tuple[int, Path]]:
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        found = [match for name in names if (match := _IS_SEGMENT.fullmatch(name))]
        return sorted((int(match[1]), self.folder / match[0]) for match in found)

    def _entries(self) -> Iterator[int]:
        """Of every whole line that is new: its key, its place, and whether it takes one away."""
        for number, path in self._paths():
            position = self._seen.get(number, 0)
            with contextlib.suppress(OSError), path.open("rb") as file:
                file.seek(position)
                for line in file:
                    if not line.endswith(b"\n"):  # being written, or cut off by a kill
                        break
                    sample_id = _id_of(line)
                    key = key_of(sample_id.decode("ascii", "replace"))
                    if key is None:
                        self.damaged += 1
                    else:
                        gone = line.startswith(_GONE, len(_START) + len(sample_id))
                        yield entry_of(key, number << OFFSET_BITS | position, gone=gone)
                    position += len(line)
            self._seen[number] = position

    def _keys_in(self, number: int) -> Iterator[int]:
        """The keys of all lines of a segment."""
        with (self.folder / _NAME.format(number)).open("rb") as file:
            for line in file:
                key = key_of(_id_of(line).decode("ascii", "replace"))
                if key is not None:
                    yield key

    def _line(self, place: int) -> bytes | None:
        number, offset = place >> OFFSET_BITS, place & (1 << OFFSET_BITS) - 1
        try:
            file = self._files.get(number)
            if file is None:
                while len(self._files) >= _FILES_OPEN:
                    self._files.pop(next(iter(self._files))).close()
                file = open(self.folder / _NAME.format(number), "rb")  # noqa: SIM115
                self._files[number] = file
            file.seek(offset)
            line = file.readline(_LONGEST)
        except OSError:
            return None
        return line if line.endswith(b"\n") else None

    def _write(self, line: bytes) -> None:
        if self._out is None or self._written > self._most_bytes:
            self._begin()
        assert self._out
        try:
            if os.fstat(self._out.fileno()).st_nlink == 0:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            rest = memoryview(line)
            while rest:
                rest = rest[self._out.write(rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._out.truncate(self._written)
                self._out.seek(self._written)  # else what follows lies behind a hole
            raise
        self._written += len(line)

    def _begin(self) -> None:
        """Begin a segment that no other process adds to."""
        last = self._paths()[-1:]
        for number in count(last[0][0] + 1 if last else 1):
            with contextlib.suppress(FileExistsError):
                path = self.folder / _NAME.format(number)
                self._out, self._written = path.open("xb", buffering=0), 0
                return


def _state_of(path: Path) -> SegmentState:
    status = path.stat()
    return path.name, status.st_size, status.st_mtime_ns


def key_of(sample_id: str) -> int | None:
    """64 bits of the hash in a sample's id; None where it has none."""
    try:
        return int(sample_id[-16:], 16) & MASK
    except ValueError:
        return None


def _line_start(sample_id: str) -> bytes:
    return _START + sample_id.encode("ascii", "replace") + b'"'


def _id_of(line: bytes) -> bytes:
    """The id in a line; empty where it does not begin as ours: an id may become a file's name."""
    found = line[len(_START) : line.find(b'"', len(_START))] if line.startswith(_START) else b""
    return found if found.replace(b"-", b"").isalnum() else b""
