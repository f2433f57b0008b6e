# SPDX-License-Identifier: Apache-2.0
"""Average precision of boxes at IoU 0.5, over resampled images too."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

_RECALLS = tuple(step / 100 for step in range(101))


@dataclass(frozen=True)
class Ranked:
    """A judged box: score, whether it is right, the group of images that it belongs to."""

    score: float
    right: bool
    group: int


class AveragePrecision:
    """COCO's: precision, made monotonic, at 101 recalls (cocodataset/cocoapi, cocoeval.py).

    Boxes of equal score count together, so that their order, which says nothing, does not
    change the figure; with different scores it is COCO's.
    """

    def __init__(self, boxes: Iterable[Ranked]) -> None:
        ranked = sorted(boxes, key=lambda one: -one.score)
        self._ties = [list(tie) for _, tie in groupby(ranked, key=lambda one: one.score)]

    def value(self, true_boxes: float, weights: Mapping[int, int]) -> float | None:
        """The figure where group g counts ``weights[g]`` times; None without true boxes."""
        if not true_boxes:
            return None
        recalls, precisions = [], []
        right = total = 0
        for tie in self._ties:
            for one in tie:
                weight = weights[one.group]
                total += weight
                right += weight * one.right
            if total:
                recalls.append(right / true_boxes)
                precisions.append(right / total)
        for index in range(len(precisions) - 2, -1, -1):
            precisions[index] = max(precisions[index], precisions[index + 1])
        places = (bisect_left(recalls, recall) for recall in _RECALLS)
        return sum(precisions[place] for place in places if place < len(precisions)) / 101
