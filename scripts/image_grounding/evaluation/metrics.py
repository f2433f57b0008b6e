# SPDX-License-Identifier: Apache-2.0
"""The figures, as ratios of sums over images, so that resampling images is adding up.

Protocols of a phrase with several true boxes, named as in Kamath et al., "MDETR" (2021), on
Flickr30k Entities: *any-box* counts a prediction that overlaps one of them, *merged-box* one
that overlaps the box around them all. Overlap is IoU >= 0.5.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from image_grounding.annotations import Instance
from image_grounding.boxes import box_iou
from image_grounding.evaluation.calibration import calibration_error
from image_grounding.evaluation.truth import TruthPhrase
from image_grounding.frames import Box

LEAST_IOU = 0.5
RANKS = (1, 5, 10)

# Numerators and denominators by name.
Sums = defaultdict[str, float]


def ranked(instances: Iterable[Instance]) -> list[Instance]:
    """By score, the best first; those without one last, in their order."""
    return sorted(instances, key=lambda one: -1.0 if one.score is None else one.score, reverse=True)


def merge_boxes(boxes: Sequence[Box]) -> Box:
    """The box around all of ``boxes``."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def assign(boxes: Sequence[Box], truth: Sequence[Box]) -> list[bool]:
    """Whether each box finds a true box of its own, the best that is left, as COCO assigns."""
    left = list(truth)
    found = []
    for box in boxes:
        best = max(left, key=lambda one: box_iou(box, one), default=None)
        found.append(best is not None and box_iou(box, best) >= LEAST_IOU)
        if found[-1] and best is not None:
            left.remove(best)
    return found


def add_phrase(sums: Sums, phrase: TruthPhrase, instances: Sequence[Instance]) -> float:
    """Add what was predicted for a phrase that has true boxes; none where it was not matched.

    Returns:
        The best IoU of the top-1 box, 0 without one.
    """
    best = ranked(instances)
    ious = [max(box_iou(one.bbox, box) for box in phrase.boxes) for one in best]
    merged = merge_boxes(phrase.boxes)
    merged_ious = [box_iou(one.bbox, merged) for one in best]
    right = assign([one.bbox for one in best], phrase.boxes)
    top = ious[0] if ious else 0.0
    sums["phrases"] += 1
    sums["boxes"] += len(phrase.boxes)
    sums["iou"] += top
    for rank in RANKS:
        sums[f"any@{rank}"] += max(ious[:rank], default=0.0) >= LEAST_IOU
        sums[f"merged@{rank}"] += max(merged_ious[:rank], default=0.0) >= LEAST_IOU
        sums[f"boxes@{rank}"] += sum(right[:rank])
    return top


def figures(sums: Mapping[str, float]) -> dict[str, float | None]:
    """Every figure by name; None where there is nothing to divide by."""

    def ratio(part: str, whole: str) -> float | None:
        total = sums.get(whole, 0)
        return sums.get(part, 0) / total if total else None

    expressions = sums.get("predicted", 0) + sums.get("expected", 0)
    return {
        **{f"any_box_recall@{rank}": ratio(f"any@{rank}", "phrases") for rank in RANKS},
        **{f"merged_box_recall@{rank}": ratio(f"merged@{rank}", "phrases") for rank in RANKS},
        **{f"box_recall@{rank}": ratio(f"boxes@{rank}", "boxes") for rank in RANKS},
        "accuracy@0.5": ratio("any@1", "phrases"),
        "mean_iou": ratio("iou", "phrases"),
        "expression_precision": ratio("matched", "predicted"),
        "expression_recall": ratio("matched", "expected"),
        "expression_f1": 2 * sums.get("matched", 0) / expressions if expressions else None,
        "ece": calibration_error(sums),
    }
