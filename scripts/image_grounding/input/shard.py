# SPDX-License-Identifier: Apache-2.0
"""Shards: parts of an input that runs on several machines do, each into a folder of its own."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from image_grounding.errors import SpecError

_WRITTEN = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
_BY_SAMPLE, _BY_PICTURE = "sample_id", "image_path"


@dataclass(frozen=True)
class Shard:
    """One of ``of`` parts of an input.

    Where a sample belongs depends on its image path and caption alone, whatever the machine and
    the order of the input. Repetitions of a pair are in one shard. A line that is no sample
    belongs to a shard by its number.

    Attributes:
        number: from 1 to ``of``.
        of: how many there are.
        by_picture: captions of one picture are in one shard.
    """

    number: int
    of: int
    by_picture: bool = False

    @classmethod
    def parse(cls, text: str, *, by_picture: bool = False) -> "Shard":
        """From ``I/N``.

        Raises:
            SpecError: it is none.
        """
        found = _WRITTEN.fullmatch(text)
        number, of = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= of:
            raise SpecError(f"--shard takes I/N, with I from 1 to N, not {text[:40]}")
        return cls(number, of, by_picture)

    @classmethod
    def from_plain(cls, plain: Any) -> "Shard | None":
        """What ``plain`` made; None where it is nothing of the kind."""
        if not isinstance(plain, dict):
            return None
        number, of = plain.get("number"), plain.get("of")
        if not (isinstance(number, int) and isinstance(of, int) and 1 <= number <= of):
            return None
        return cls(number, of, plain.get("by") == _BY_PICTURE)

    def plain(self) -> dict[str, Any]:
        """For a summary."""
        by = _BY_PICTURE if self.by_picture else _BY_SAMPLE
        return {"number": self.number, "of": self.of, "by": by}

    def __str__(self) -> str:
        """As it is given."""
        return f"{self.number}/{self.of}"

    def holds(self, image_path: str, caption: str) -> bool:
        """Whether a pair belongs to it; both as the input has them."""
        return self.number_of(image_path, caption) == self.number

    def number_of(self, image_path: str, caption: str) -> int:
        """Of the shard that a pair belongs to, among those that this is one of."""
        # The same text as that of a sample id, so that equal ids are in one shard.
        parts = [image_path] if self.by_picture else [image_path, caption]
        digest = hashlib.sha256(json.dumps(parts).encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.of + 1

    def holds_line(self, line: int) -> bool:
        """Whether a line that is no sample belongs to it."""
        return line % self.of == self.number % self.of
