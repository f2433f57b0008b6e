# SPDX-License-Identifier: Apache-2.0
"""What a report tells of many things of one kind: how many there are, and the first few."""

from dataclasses import dataclass, field
from typing import Any

_SHOWN = 10


@dataclass
class FirstFew:
    """The first few of something, and how many there are."""

    total: int = 0
    first: list[Any] = field(default_factory=list)

    def add(self, entry: Any) -> None:
        """Count one."""
        self.total += 1
        if len(self.first) < _SHOWN:
            self.first.append(entry)
