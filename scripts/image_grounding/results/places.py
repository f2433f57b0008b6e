# SPDX-License-Identifier: Apache-2.0
"""Where the text of each sample lies: 16 bytes a sample, for there may be millions."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable

MASK = (1 << 64) - 1
# A place is the number of a segment and, in so many bits, an offset in it.
OFFSET_BITS = 44


def entry_of(key: int, place: int, *, gone: bool) -> int:
    """A key and a place, both of 64 bits, in a number that sorts by key, then by place.

    Args:
        key: of a sample.
        place: of its text, or of what takes that away.
        gone: whether it is taken away.
    """
    return (key << 64 | place) << 1 | gone


class Places:
    """Places by key.

    Args:
        entries: what there is, of each key the latest last.
    """

    def __init__(self, entries: Iterable[int]) -> None:
        self._keys, self._places = array("Q"), array("Q")
        # What came later; None where a place was taken away.
        self._later: dict[int, int | None] = {}
        latest = -1
        for entry in sorted(entries):
            if entry >> 65 != latest >> 65:
                self._keep(latest)
            latest = entry
        self._keep(latest)
        self._count = len(self._keys)

    def __len__(self) -> int:
        """How many keys have a place."""
        return self._count

    def add(self, entries: Iterable[int]) -> None:
        """Take in entries that came since, the oldest first."""
        for entry in entries:
            key, place = entry >> 65, entry >> 1 & MASK
            before = self.find(key) is not None
            self._later[key] = None if entry & 1 else place
            self._count += (not entry & 1) - before

    def find(self, key: int) -> int | None:
        """The place of a key; None where it has none."""
        if key in self._later:
            return self._later[key]
        at = bisect_left(self._keys, key)
        return self._places[at] if at < len(self._keys) and self._keys[at] == key else None

    def places(self) -> list[int]:
        """The places of all keys."""
        if not self._later:
            return self._places.tolist()
        first = [p for k, p in zip(self._keys, self._places, strict=True) if k not in self._later]
        return first + [place for place in self._later.values() if place is not None]

    def _keep(self, entry: int) -> None:
        if entry >= 0 and not entry & 1:
            self._keys.append(entry >> 65)
            self._places.append(entry >> 1 & MASK)
