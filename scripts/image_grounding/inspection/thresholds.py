# SPDX-License-Identifier: Apache-2.0
"""Least scores from which on boxes are precise enough, and what each keeps of the data."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from image_grounding.inspection.wilson import Rate

_STEPS = 10_000  # scores are counted in steps of 1 in this many


@dataclass(frozen=True)
class Threshold:
    """A least score, how precise the reviewed boxes from it on are, and the share it keeps.

    ``share_kept`` is of all boxes, reviewed or not; ``share_reviewed`` of the reviewed ones.
    """

    score: float
    precision: Rate
    share_kept: float
    share_reviewed: float

    def reaches(self, target: float) -> bool:
        """Whether its boxes are that precise with 95 % certainty."""
        return self.precision.interval[0] >= target


def score_step(score: float) -> int:
    """The step that a score is counted in."""
    return math.floor(round(score * _STEPS, 6))


def thresholds(
    scored: Sequence[tuple[int, bool]], all_scores: Counter[int | None]
) -> list[Threshold]:
    """A threshold for every score of a reviewed box, the highest first.

    Args:
        scored: step and whether it is right, of each reviewed box that has a score.
        all_scores: boxes of the whole data by step; None for those without a score.
    """
    return list(_walk(sorted(scored, reverse=True), all_scores))


def _walk(
    ranked: Sequence[tuple[int, bool]], all_scores: Counter[int | None]
) -> Iterator[Threshold]:
    steps = sorted(((step, n) for step, n in all_scores.items() if step is not None), reverse=True)
    good = kept = place = 0
    for count, (score, right) in enumerate(ranked, start=1):
        good += right
        if count < len(ranked) and ranked[count][0] == score:
            continue
        while place < len(steps) and steps[place][0] >= score:
            kept += steps[place][1]
            place += 1
        share = kept / max(all_scores.total(), 1)
        yield Threshold(score / _STEPS, Rate(good, count), share, count / len(ranked))
