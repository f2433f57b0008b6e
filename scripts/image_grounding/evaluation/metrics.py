# SPDX-License-Identifier: Apache-2.0
"""Metrics of phrase grounding at IoU 0.5.

Phrases, protocols ``any_box`` and ``merged_box`` (MDETR, Kamath et al. 2021, arXiv:2104.12763,
and its evaluator of Flickr30k Entities): any-box counts a phrase as found where a box overlaps
any of its true boxes; merged-box takes the smallest box around all its true boxes instead.
There the boxes of an expression are merged too, as a model that is trained for this protocol
answers with one box, and an annotator with one for each instance.

- ``recall_at_k``: share of all true phrases with boxes that one of the k best boxes finds
  (Plummer et al. 2015, arXiv:1505.04870); a phrase without an expression is not found.
- ``accuracy``: share of the true phrases with an expression that its best box finds: what
  referring expression comprehension calls accuracy at 0.5, as there phrases are given.
- ``mean_iou``: of the best box with the true box it overlaps most, 0 where there is no box,
  over the same phrases as accuracy.

Expressions: ``precision`` is the share of the run's expressions that are a phrase of the truth,
``recall`` the share of the truth's phrases with boxes that have an expression; of all its phrases
where it has no boxes at all.

Boxes: each box in order of score takes the free true box it overlaps most, from IoU 0.5 on, as
in COCO's evaluation (cocodataset/cocoapi, cocoeval.py); a phrase is what an image and a category
are there. Only boxes of expressions that are a phrase of the truth can be evaluated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from image_grounding.boxes.frames import Box
from image_grounding.boxes.geometry import box_iou
from image_grounding.steps.annotations import Instance

IOU = 0.5
RECALL_AT = (1, 5, 10)
IOU_BINS = 20


@dataclass(frozen=True)
class EvaluatedBox:
    """A box with its score, and whether the truth has it."""

    score: float | None
    right: bool


@dataclass(frozen=True)
class Localized:
    """How a phrase's boxes compare with the true ones.

    Attributes:
        ious: of each box, the best first, with the true box it overlaps most.
        merged_iou: of the box around all boxes with the box around all true boxes.
        boxes: each box, the best first.
    """

    ious: tuple[float, ...]
    merged_iou: float
    boxes: tuple[EvaluatedBox, ...]


def by_score(instances: Sequence[Instance]) -> list[Instance]:
    """The best first; those without a score last; equal ones in the order given."""
    return sorted(instances, key=lambda box: (box.score is None, -(box.score or 0.0)))


def localize(instances: Sequence[Instance], truth: Sequence[Box]) -> Localized:
    """Compare a phrase's boxes with its true boxes, of which there may be none."""
    ranked = by_score(instances)
    ious = [[box_iou(box.bbox, true) for true in truth] for box in ranked]
    right = assign(ious)
    return Localized(
        ious=tuple(max(row, default=0.0) for row in ious),
        merged_iou=box_iou(merge([box.bbox for box in ranked]), merge(truth))
        if ranked and truth
        else 0.0,
        boxes=tuple(
            EvaluatedBox(box.score, found is not None)
            for box, found in zip(ranked, right, strict=True)
        ),
    )


def assign(ious: Sequence[Sequence[float]]) -> list[int | None]:
    """For each box, the best first, the true box matched with it or None; greedily, as in COCO."""
    matched: set[int] = set()
    found: list[int | None] = []
    for row in ious:
        free = [index for index in range(len(row)) if index not in matched and row[index] >= IOU]
        best = max(free, key=lambda index: row[index], default=None)
        if best is not None:
            matched.add(best)
        found.append(best)
    return found


def merge(boxes: Sequence[Box]) -> Box:
    """The smallest box around at least one box."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return (min(lefts), min(tops), max(rights), max(bottoms))


def figures(sums: Mapping[str, float]) -> dict[str, float | None]:
    """All metrics but average precision and calibration, from sums of ``tally.COLUMNS``."""
    precision = _share(sums["expressions_matched"], sums["expressions"])
    recall = _share(sums["phrases_matched"], sums["phrases"])
    box_precision = _share(sums["boxes_right"], sums["boxes"])
    box_recall = _share(sums["boxes_right"], sums["true_boxes"])
    matched = sums["boxed_phrases_matched"]
    return {
        "expressions.precision": precision,
        "expressions.recall": recall,
        "expressions.f1": _f1(precision, recall),
        **{
            f"any_box.recall_at_{k}": _share(sums[f"found_at_{k}"], sums["boxed_phrases"])
            for k in RECALL_AT
        },
        "any_box.accuracy": _share(sums["found_at_1"], matched),
        "any_box.mean_iou": _share(sums["iou"], matched),
        "merged_box.recall": _share(sums["found_merged"], sums["boxed_phrases"]),
        "merged_box.accuracy": _share(sums["found_merged"], matched),
        "merged_box.mean_iou": _share(sums["iou_merged"], matched),
        "boxes.precision": box_precision,
        "boxes.recall": box_recall,
        "boxes.f1": _f1(box_precision, box_recall),
    }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _f1(precision: float | None, recall: float | None) -> float | None:
    if precision is None or recall is None:
        return None
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
