# SPDX-License-Identifier: Apache-2.0
"""Average precision of boxes at IoU 0.5, over resampled images too."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress, pairwise
from math import fsum
from operator import mul

_RECALLS = tuple(step * 0.01 for step in range(101))  # as numpy.linspace rounds them


@dataclass(frozen=True, slots=True)
class Ranked:
    """An evaluated box: score, whether it is right, the group of images that it belongs to."""

    score: float
    right: bool
    group: int


class AveragePrecision:
    """COCO's: precision, made monotonic, at 101 recalls (cocodataset/cocoapi, cocoeval.py).

    Boxes of equal score count together, so that their order, which has no meaning, does not
    change the figure; with different scores it is COCO's.
    """

    def __init__(self, boxes: Iterable[Ranked]) -> None:
        ranked = sorted(boxes, key=lambda box: -box.score)
        self._groups = [box.group for box in ranked]
        self._right = [box.right for box in ranked]
        scores = [box.score for box in ranked]
        self._last_of_tie = [score != after for score, after in pairwise([*scores, None])]

    def value(self, true_boxes: float, weights: Sequence[float]) -> float | None:
        """The figure where group g counts ``weights[g]`` times; None without true boxes."""
        if not true_boxes:
            return None
        # A million boxes, two hundred times: no loop of Python's.
        own = [weights[group] for group in self._groups]
        totals = list(compress(accumulate(own), self._last_of_tie))
        rights = list(compress(accumulate(map(mul, own, self._right)), self._last_of_tie))
        precisions = [
            right / total if total else 0.0 for right, total in zip(rights, totals, strict=True)
        ]
        precisions = list(accumulate(reversed(precisions), max))[::-1]
        recalls = [right / true_boxes for right in rights]
        places = (bisect_left(recalls, recall) for recall in _RECALLS)
        return fsum(precisions[place] for place in places if place < len(precisions)) / 101
