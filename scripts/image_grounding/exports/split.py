# SPDX-License-Identifier: Apache-2.0
"""Parts of a dataset, by picture: all captions of a picture fall into the same part.

A picture under two names is one picture where its files can be read. The shares are exact up to
one picture; which picture goes where depends on seed and image paths alone, not on their order.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from image_grounding.errors import SpecError, StoreError
from image_grounding.exports.base import WHOLE, stable_hash
from image_grounding.storage import store

_NAMES = ("train", "val", "test")
# Of a large file some blocks all over it tell pictures apart, and are read in no time.
_BLOCKS, _BLOCK_BYTES = 16, 16 * 1024


@dataclass(frozen=True)
class Split:
    """Parts and their shares, which add up to 1."""

    parts: tuple[str, ...] = (WHOLE,)
    shares: tuple[float, ...] = (1.0,)
    seed: int = 0

    def assign(self, images: Iterable[tuple[str, Path | str]]) -> "Parts":
        """The part of each image; of an image, its key and its file, which may be gone."""
        pictures: dict[int, int] = {}  # by image: 64 bits each
        places: dict[int, int] = {}  # by picture, what it is ordered by
        if len(self.parts) > 1:
            for key, path in images:
                if (image := stable_hash(key)) not in pictures:
                    content = _content(path)
                    pictures[image] = picture = stable_hash(content) if content else image
                    place = stable_hash(self.seed, key)
                    places[picture] = min(place, places.get(picture, place))
        bounds = list(accumulate(_exact(len(places), self.shares)))
        part = 0
        for number, picture in enumerate(sorted(places, key=lambda key: (places[key], key))):
            while number >= bounds[part]:
                part += 1
            places[picture] = part
        return Parts(self.parts, {image: places[picture] for image, picture in pictures.items()})


@dataclass(frozen=True)
class Parts:
    """Which image is in which part."""

    names: tuple[str, ...]
    numbers: dict[int, int]

    def of(self, key: str) -> str:
        """The part of an image, by its key."""
        return self.names[self.numbers.get(stable_hash(key), 0)]


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


def _exact(count: int, shares: tuple[float, ...]) -> list[int]:
    """``count`` in whole shares by the largest remainder; none is 0 where there are enough."""
    wanted = [round(count * share, 6) for share in shares]
    given = [math.floor(share) for share in wanted]
    by_remainder = sorted(range(len(shares)), key=lambda index: given[index] - wanted[index])
    for index in by_remainder[: count - sum(given)]:
        given[index] += 1
    while 0 in given and count >= len(shares):
        given[given.index(max(given))] -= 1
        given[given.index(0)] += 1
    return given


def _content(path: Path | str) -> str | None:
    """What tells one picture's file from another's; None where it cannot be read."""
    if isinstance(path, str):
        return _version(path)
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            digest = hashlib.sha256(str(size).encode())
            for start in range(0, size, max(size // _BLOCKS, _BLOCK_BYTES)):
                file.seek(start)
                digest.update(file.read(_BLOCK_BYTES))
    except (OSError, ValueError):
        return None
    return digest.hexdigest()


def _version(address: str) -> str | None:
    try:
        facts = store.look(address)
    except (StoreError, OSError):
        return None
    return f"{facts.size} {facts.version}" if facts.version else None
