# SPDX-License-Identifier: Apache-2.0
"""What is fuzzed: each module makes one ``Target``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

NAMES = ("replies", "spec", "lines", "state", "pictures")


@dataclass(frozen=True)
class Target:
    """Something that takes any bytes.

    Attributes:
        check: raises where the product does not hold what it promises for these bytes.
        seeds: good inputs to begin with.
        words: texts that are worth putting in.
        head: how many bytes at the begin choose what is done with the others.
    """

    check: Callable[[bytes], None]
    seeds: Sequence[bytes]
    words: Sequence[str] = ()
    head: int = 0
