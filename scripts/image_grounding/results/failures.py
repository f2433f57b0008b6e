# SPDX-License-Identifier: Apache-2.0
"""``failures.jsonl``: what did not succeed, written as it happens."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from image_grounding.errors import OutputError
from image_grounding.files import atomic_writer, clean_json, strict_json

# Reasons that lie in the input: another model would not change them.
INPUT_REASONS = frozenset({"bad_line", "image_missing", "image_unreadable", "image_too_large"})


class FailureLog:
    """The failures of one step; counts those of this run by reason.

    What earlier runs left stays in the file while this one works, so that a run which is
    killed takes nothing away. ``settle`` then leaves what is still true.
    """

    def __init__(self, path: Path) -> None:
        self.by_reason: Counter[str] = Counter()
        self.carried_over = 0
        self._first: dict[str, str] = {}
        self._failed: set[str] = set()
        self.path = path
        # Of earlier runs, and not looked at by this one yet.
        self._open = {_key(entry) for entry, _ in _entries(self.path)}
        try:
            self._before = self.path.stat().st_size if self.path.exists() else 0
            self._file: IO[str] = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._cannot_write(error) from None
        if self._before and not self._ends_well():
            self._write("\n")

    def attempted(self, sample_id: str | None, line: int) -> None:
        """An earlier run's entry of this sample, or of this bad line, holds no more."""
        self._open.discard(sample_id or f"line {line}")

    def failed_before(self, sample_id: str) -> bool:
        """Whether the sample failed in an earlier run, and was not attempted since."""
        return sample_id in self._open

    def has(self, sample_id: str) -> bool:
        """Whether the sample failed in this run."""
        return sample_id in self._failed

    def add(
        self,
        *,
        line: int,
        reason: str,
        message: str,
        sample_id: str | None = None,
        image_path: str | None = None,
        attempts: int = 0,
        excerpt: str | None = None,
    ) -> None:
        """Write one failure; raises OutputError where it cannot be written."""
        self.by_reason[reason] += 1
        self._first.setdefault(reason, f"line {line}: {message}")
        if sample_id:
            self._failed.add(sample_id)
        entry: dict[str, Any] = {
            "sample_id": sample_id,
            "image_path": image_path,
            "line": line,
            "reason": reason,
            "message": message,
            "attempts": attempts,
            "reply_excerpt": excerpt,
        }
        self._write(clean_json(entry) + "\n")

    def settle(self, *, whole: bool) -> None:
        """Close the file, in the order of the input.

        Entries of earlier runs that no longer hold are left out.

        Args:
            whole: this run went through all of its input; else the entries of samples that it
                did not attempt are kept.

        Raises:
            OutputError: the file cannot be written; the entries stay.
        """
        try:
            self._file.close()
        except OSError as error:  # what the disk did not take before, it does not take now
            raise self._cannot_write(error) from None
        seen: set[tuple[str, str]] = set()  # runs that were killed may have repeated an entry
        places: list[tuple[int, int]] = []  # (line of the input, position in the file)
        for entry, position in _entries(self.path):
            mine = position >= self._before
            where = (_key(entry), str(entry.get("line")))
            kept = not mine and not whole and where[0] in self._open and where not in seen
            seen.add(where)
            self.carried_over += kept
            if mine or kept:
                line = entry.get("line")
                places.append((line if isinstance(line, int) else 0, position))
        if self._before or places != sorted(places):
            with atomic_writer(self.path) as file:
                for entry in _entries_at(self.path, sorted(places)):
                    file.write(clean_json(entry) + "\n")
        self._before = 0

    def by_reason_text(self) -> str:
        """How many failed for each reason, and the first of them, in one sentence."""
        return "; ".join(
            f"{count} x {reason} ({self._first[reason]})"
            for reason, count in self.by_reason.most_common()
        )

    def close(self) -> None:
        """Close the file; what it did not take was an error when it was written."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _ends_well(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, 2)
            return file.read() == b"\n"

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            raise self._cannot_write(error) from None

    def _cannot_write(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {self.path}: {error.strerror}")


def read_failures(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a failures file as they stand there; nothing where there is none."""
    return (entry for entry, _ in _entries(path))


def _key(entry: dict[str, Any]) -> str:
    return str(entry.get("sample_id") or f"line {entry.get('line')}")


def _entries(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """The entries of a file that may have been cut, and where in it they begin."""
    position = 0
    try:
        with path.open("rb") as file:
            for line in file:
                begin, position = position, position + len(line)
                try:
                    entry = strict_json(line.decode())
                except (ValueError, RecursionError):
                    continue
                if isinstance(entry, dict):
                    yield entry, begin
    except OSError:
        return


def _entries_at(path: Path, places: Iterable[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for _, position in places:
            file.seek(position)
            yield strict_json(file.readline().decode())
