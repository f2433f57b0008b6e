# SPDX-License-Identifier: Apache-2.0
"""Ids that were met are told from new ones, however many there are."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from image_grounding.input.ids import Ids, Occurrences

# Few of them, so that they repeat; 0 and neighbours, so that they collide in the table.
KEYS = st.integers(0, 40) | st.integers((1 << 64) - 40, (1 << 64) - 1)


@given(st.lists(KEYS))
def test_occurrences_are_counted(keys: list[int]) -> None:
    seen, wanted = Occurrences(), Counter[int]()
    for key in keys:
        wanted[key or 1] += 1  # of 2^64 keys two count as one
        assert seen.count(key) == wanted[key or 1]


def test_no_key_is_lost_while_the_table_grows() -> None:
    ids = Ids()
    # Keys that all want the same place, and such that are spread.
    keys = [index << 40 | 7 for index in range(300)] + [
        index * 0x9E3779B97F4A7C15 & (1 << 64) - 1 for index in range(1, 20_000)
    ]
    assert all(ids.add(key) for key in keys)
    assert not any(ids.add(key) for key in keys)
    assert len(ids) == len(keys)
