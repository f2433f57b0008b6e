# SPDX-License-Identifier: Apache-2.0
"""What a store says of an object."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """What a store says of an object; None where it does not.

    Attributes:
        size: bytes.
        version: another text for other bytes: an ETag, a hash, or a time.
    """

    size: int | None
    version: str | None


class ObjectTooLargeError(Exception):
    """An object has more bytes than it may.

    Args:
        size: so many.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size
