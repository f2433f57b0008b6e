# SPDX-License-Identifier: Apache-2.0
"""What chance alone may do to a count."""

import math

_EXACT = 1000  # above it the normal distribution is as good


def sign_test(more: int, fewer: int) -> float:
    """How likely a fair coin shows ``fewer`` heads or less in ``more + fewer`` throws."""
    throws = more + fewer
    if throws > _EXACT:
        return math.erfc((throws - 2 * fewer - 1) / math.sqrt(2 * throws)) / 2
    ways = sum(math.comb(throws, heads) for heads in range(fewer + 1))
    return float(ways / 2**throws)
