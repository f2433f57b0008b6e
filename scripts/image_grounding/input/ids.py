# SPDX-License-Identifier: Apache-2.0
"""Which ids were met already, in 16 to 32 bytes each: an input may have millions."""

from array import array
from collections import Counter

_FIRST_SIZE = 1 << 10


class Ids:
    """A set of keys of 64 bits that are evenly spread, as hashes are.

    A hash table with open addressing in one array; at least half of it is empty. 0 and 1 are one
    key to it.
    """

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * _FIRST_SIZE))  # 0 where it is empty
        self._count = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def add(self, key: int) -> bool:
        """Add a key; whether it is new."""
        key = key or 1
        table = self._table
        last = len(table) - 1
        place = key & last
        while found := table[place]:
            if found == key:
                return False
            place = place + 1 & last
        table[place] = key
        self._count += 1
        if 2 * self._count > len(table):
            self._grow()
        return True

    def _grow(self) -> None:
        old, self._count = self._table, 0
        self._table = array("Q", bytes(2 * 8 * len(old)))
        for key in old:
            if key:
                self.add(key)


class Occurrences:
    """Counts how often each key was met; only what is repeated takes more than in ``Ids``."""

    def __init__(self) -> None:
        self._ids = Ids()
        self._repeated: Counter[int] = Counter()

    def count(self, key: int) -> int:
        """Count a key; 1 where it is met for the first time."""
        if self._ids.add(key):
            return 1
        self._repeated[key or 1] += 1
        return 1 + self._repeated[key or 1]
