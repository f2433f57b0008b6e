# SPDX-License-Identifier: Apache-2.0
"""Bootstrap intervals: how much a figure would change with other images of the same kind.

Images are drawn, not phrases, as phrases of one image are not independent. The interval is the
percentile one (Efron and Tibshirani 1993, chapter 13). Needs no numpy: above ``MOST_GROUPS``
images, groups of them are drawn instead, which leaves the spread the same.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from statistics import quantiles

MOST_GROUPS = 1_000
CONFIDENCE = 0.95

Weights = Sequence[float]
Interval = tuple[float, float]


def intervals(
    statistic: Callable[[Weights], Mapping[str, float | None]],
    groups: int,
    resamples: int,
    seed: int,
) -> dict[str, Interval | None]:
    """95 % intervals of the figures of a statistic.

    Args:
        statistic: the figures where each group counts as often as its weight.
        groups: how many groups there are.
        resamples: how many draws.
        seed: of the draws; the same seed gives the same intervals.

    Returns:
        The bounds of each figure; None where there are fewer than two groups or draws, or a
        draw in which the figure is not defined.
    """
    if groups < 2 or resamples < 2:
        return {name: None for name in statistic([1.0] * groups)}
    rng = random.Random(seed)
    values: dict[str, list[float | None]] = {}
    for _ in range(resamples):
        weights = [0.0] * groups
        for group in rng.choices(range(groups), k=groups):
            weights[group] += 1
        for name, value in statistic(weights).items():
            values.setdefault(name, []).append(value)
    return {name: _bounds(found) for name, found in values.items()}


def _bounds(values: list[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    cuts = quantiles(known, n=40, method="inclusive")
    return cuts[0], cuts[-1]
