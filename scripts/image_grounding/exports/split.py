# SPDX-License-Identifier: Apache-2.0
"""Parts of a dataset, by image: all captions of an image fall into the same part.

The part follows from a hash of seed and image path, so that it needs no memory, is the same on
every machine, in any order, and stays when the data grow. The shares are therefore approximate.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

from image_grounding.errors import SpecError
from image_grounding.exports.base import WHOLE, stable_hash

_NAMES = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Parts and their shares, which add up to 1."""

    parts: tuple[str, ...] = (WHOLE,)
    shares: tuple[float, ...] = (1.0,)
    seed: int = 0

    def part_of(self, image_key: str) -> str:
        """The part that an image belongs to."""
        place = stable_hash(self.seed, image_key) / 2**64
        bounds = list(accumulate(self.shares))[:-1]
        return self.parts[bisect_right(bounds, place)]


def parse_split(text: str | None, seed: int) -> Split:
    """``"0.9/0.1"`` or ``"0.8/0.1/0.1"``; one part for None.

    Raises:
        SpecError: not two or three positive numbers that add up to 1.
    """
    if text is None:
        return Split()
    try:
        shares = tuple(float(share) for share in text.split("/"))
    except ValueError:
        shares = ()
    whole = math.isclose(sum(shares), 1, abs_tol=1e-6)
    if len(shares) not in (2, 3) or not whole or not all(share > 0 for share in shares):
        raise SpecError(
            f"--split {text}: must be 2 or 3 shares above 0 that add up to 1, such as "
            "0.9/0.1 (train, val) or 0.8/0.1/0.1 (train, val, test)"
        )
    return Split(_NAMES[: len(shares)], shares, seed)
