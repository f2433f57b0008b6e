# SPDX-License-Identifier: Apache-2.0
"""Bootstrap intervals over images: phrases of one image are not independent of each other.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), percentile intervals.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

Interval = tuple[float, float]


def bootstrap_intervals(
    rows: Sequence[Mapping[str, float]],
    figures: Callable[[Mapping[str, float]], Mapping[str, float | None]],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval | None]:
    """95 % intervals of figures that are functions of sums.

    Args:
        rows: the sums of each image.
        figures: from added-up sums to figures by name.
        resamples: how often as many images are drawn, with replacement.
        seed: of the draws; the same one gives the same intervals.

    Returns:
        Bounds by name; None with fewer than two images, or where no draw had a figure.
    """
    if len(rows) < 2 or not resamples:
        return dict.fromkeys(figures({}))
    names = sorted({name for row in rows for name in row})
    columns = {name: tuple(row.get(name, 0) for row in rows) for name in names}
    # With one box a phrase, most figures have the same sums: each is added up once.
    places = {column: place for place, column in enumerate(dict.fromkeys(columns.values()))}
    place_of = {name: places[column] for name, column in columns.items()}
    everyone = range(len(rows))
    rng = random.Random(seed)
    values: dict[str, list[float]] = {name: [] for name in figures({})}
    for _ in range(resamples):
        draw = itemgetter(*rng.choices(everyone, k=len(rows)))
        totals = [sum(draw(column)) for column in places]
        for name, value in figures(
            {name: totals[place] for name, place in place_of.items()}
        ).items():
            if value is not None:
                values[name].append(value)
    return {name: _bounds(sorted(found)) if found else None for name, found in values.items()}


def _bounds(ordered: Sequence[float]) -> Interval:
    return percentile(ordered, 0.025), percentile(ordered, 0.975)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``ordered`` lies, interpolated linearly."""
    place = share * (len(ordered) - 1)
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
