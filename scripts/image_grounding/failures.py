# SPDX-License-Identifier: Apache-2.0
"""``failures.jsonl``: what did not succeed, written as it happens."""

from collections import Counter
from pathlib import Path
from typing import IO, Any

from image_grounding.errors import OutputError
from image_grounding.files import to_json

# Reasons that lie in the input: another model would not change them.
INPUT_REASONS = frozenset({"bad_line", "image_missing", "image_unreadable", "image_too_large"})


class FailureLog:
    """The failures of one step in this run; counts them by reason."""

    def __init__(self, step_dir: Path) -> None:
        self.by_reason: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        self.path = step_dir / "failures.jsonl"
        try:
            self._file: IO[str] = self.path.open("w", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write to {step_dir}: {error.strerror}") from None

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
        entry: dict[str, Any] = {
            "sample_id": sample_id,
            "image_path": image_path,
            "line": line,
            "reason": reason,
            "message": message,
            "attempts": attempts,
            "reply_excerpt": excerpt,
        }
        try:
            self._file.write(to_json(entry) + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot write {self._file.name}: {error.strerror}") from None

    def told(self) -> str:
        """How many failed for each reason, and the first of them, in one sentence."""
        return "; ".join(
            f"{count} x {reason} ({self._first[reason]})"
            for reason, count in self.by_reason.most_common()
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()
