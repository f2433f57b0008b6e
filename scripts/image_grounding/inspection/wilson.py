# SPDX-License-Identifier: Apache-2.0
"""Wilson's score interval for a proportion, and the sample size for a narrow interval.

Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
Journal of the American Statistical Association 22 (1927).
"""

import math
from dataclasses import dataclass
from typing import Any

Z95 = 1.959963984540054
_MOST = 10_000_000


def wilson_interval(good: float, total: float, z: float = Z95) -> tuple[float, float]:
    """Bounds of the proportion behind ``good`` of ``total`` independent trials.

    Args:
        good: successes, 0..total.
        total: trials; without any the bounds are 0 and 1.
        z: quantile of the normal distribution; the default is for 95 %, two-sided.
    """
    if total <= 0:
        return 0.0, 1.0
    share = good / total
    spread = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / spread
    half = z / spread * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def trials_needed(share: float, half_width: float) -> int:
    """The fewest trials whose interval around ``share`` is no wider than twice ``half_width``."""
    low, high = 0, _MOST
    while high - low > 1:
        middle = (low + high) // 2
        first, last = wilson_interval(share * middle, middle)
        low, high = (low, middle) if last - first <= 2 * half_width else (middle, high)
    return high


def trials_to_decide(share: float, target: float) -> int:
    """The fewest trials with this share whose interval excludes ``target``.

    For a share above the target the lower bound reaches it, for a share below it the upper bound
    stays below. Where the share equals the target the result is very large.
    """
    low, high = 0, _MOST
    while high - low > 1:
        middle = (low + high) // 2
        first, last = wilson_interval(share * middle, middle)
        decided = first >= target if share >= target else last < target
        low, high = (low, middle) if decided else (middle, high)
    return high


@dataclass
class Rate:
    """``good`` of ``total``."""

    good: int = 0
    total: int = 0

    def add(self, good: bool) -> None:
        """Count a trial."""
        self.good += good
        self.total += 1

    @property
    def share(self) -> float | None:
        """``good / total``; None without trials."""
        return self.good / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson bounds."""
        return wilson_interval(self.good, self.total)

    def as_json(self) -> dict[str, Any]:
        """Counts, share and bounds."""
        share = self.share
        return {
            "good": self.good,
            "reviewed": self.total,
            "precision": None if share is None else round(share, 4),
            "interval": None if share is None else [round(bound, 4) for bound in self.interval],
        }
