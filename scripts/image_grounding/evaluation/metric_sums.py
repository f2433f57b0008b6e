# SPDX-License-Identifier: Apache-2.0
"""What the metrics are made of, summed up for each group of images."""

from collections.abc import Mapping, Sequence
from operator import mul

from image_grounding.evaluation import calibration
from image_grounding.evaluation.average_precision import Ranked
from image_grounding.evaluation.bootstrap import MOST_GROUPS
from image_grounding.evaluation.matching import match_categories, match_phrases
from image_grounding.evaluation.metrics import (
    IOU,
    IOU_BINS,
    RECALL_AT,
    Localized,
    by_score,
    localize,
)
from image_grounding.evaluation.model import Phrase
from image_grounding.evaluation.pairing import Pair, Pairing
from image_grounding.results.reading import GroundedExpression
from image_grounding.steps.annotations import Instance

COLUMNS = (
    "expressions", "expressions_matched", "phrases", "phrases_matched",
    "boxed_phrases", "boxed_phrases_matched", *(f"found_at_{k}" for k in RECALL_AT), "iou",
    "found_merged", "iou_merged", "true_boxes", "boxes", "boxes_right",
    *calibration.COLUMNS,
)  # fmt: skip
_EXAMPLES = 2


class MetricSums:
    """Sums over groups of images, each image in one group.

    Attributes:
        ranked: every evaluated box with a score.
        without_score: how many evaluated boxes have none.
        not_evaluated: boxes of expressions that the truth does not have, or has no boxes for.
        iou_histogram: of best boxes, phrases by IoU in ``IOU_BINS`` bins of equal width.
        unmatched_expressions: the first expressions that no phrase of the truth is.
        unmatched_phrases: the first phrases of the truth that have no expression.
    """

    def __init__(self, pairing: Pairing) -> None:
        self.groups = min(pairing.images, MOST_GROUPS)
        self._columns = {name: [0.0] * self.groups for name in COLUMNS}
        self.ranked: list[Ranked] = []
        self.without_score = 0
        self.not_evaluated = 0
        self.iou_histogram = [0] * IOU_BINS
        self.unmatched_expressions: list[str] = []
        self.unmatched_phrases: list[str] = []
        phrases = (phrase for pair in pairing.pairs for phrase in pair.annotation.phrases)
        self._boxed_only = any(phrase.boxes for phrase in phrases)
        for pair in pairing.pairs:
            self._add(pair)

    def sums(self, weights: Sequence[float]) -> Mapping[str, float]:
        """The sums of ``COLUMNS`` where group g counts ``weights[g]`` times."""
        return {name: sum(map(mul, weights, column)) for name, column in self._columns.items()}

    def _add(self, pair: Pair) -> None:
        group = pair.group % self.groups
        used: set[int] = set()
        for phrase, found in _matched(pair):
            used.update(found)
            if phrase.boxes or not self._boxed_only:
                self._count(group, "phrases", 1)
                self._count(group, "phrases_matched", bool(found))
                _keep_first(self.unmatched_phrases, [] if found else [phrase.text])
            if pair.grounded and phrase.boxes is not None:
                self._add_boxes(group, phrase, [pair.expressions[number] for number in found])
            else:
                self.not_evaluated += sum(
                    len(pair.expressions[number].instances) for number in found
                )
        self._count(group, "expressions", len(pair.expressions))
        self._count(group, "expressions_matched", len(used))
        unmatched = [
            expression for number, expression in enumerate(pair.expressions) if number not in used
        ]
        _keep_first(self.unmatched_expressions, [expression.text for expression in unmatched])
        self.not_evaluated += sum(len(expression.instances) for expression in unmatched)

    def _add_boxes(
        self, group: int, phrase: Phrase, expressions: Sequence[GroundedExpression]
    ) -> None:
        truth = phrase.boxes or ()
        found = localize(_boxes_of(expressions), truth)
        self._count(group, "true_boxes", len(truth))
        for box in found.boxes:
            self._count(group, "boxes", 1)
            self._count(group, "boxes_right", box.right)
            if box.score is None:
                self.without_score += 1
                continue
            self.ranked.append(Ranked(box.score, box.right, group))
            index = calibration.bin_of(box.score)
            self._count(group, f"bin_boxes_{index}", 1)
            self._count(group, f"bin_score_{index}", box.score)
            self._count(group, f"bin_right_{index}", box.right)
        if truth:
            self._add_phrase(group, found, matched=bool(expressions))

    def _add_phrase(self, group: int, found: Localized, *, matched: bool) -> None:
        self._count(group, "boxed_phrases", 1)
        if not matched:
            return
        best = found.ious[0] if found.ious else 0.0
        self._count(group, "boxed_phrases_matched", 1)
        self._count(group, "iou", best)
        self._count(group, "iou_merged", found.merged_iou)
        self._count(group, "found_merged", found.merged_iou >= IOU)
        for k in RECALL_AT:
            self._count(group, f"found_at_{k}", max(found.ious[:k], default=0.0) >= IOU)
        self.iou_histogram[min(int(best * IOU_BINS), IOU_BINS - 1)] += 1

    def _count(self, group: int, name: str, much: float) -> None:
        self._columns[name][group] += much


def _keep_first(examples: list[str], more: Sequence[str]) -> None:
    for text in more:
        if len(examples) < _EXAMPLES and text not in examples:
            examples.append(text)


def _boxes_of(expressions: Sequence[GroundedExpression]) -> list[Instance]:
    """The boxes of the expressions of a phrase; of one box that several have, the best score."""
    boxes = [box for expression in expressions for box in expression.instances]
    if len(expressions) < 2:
        return boxes
    return list({box.bbox: box for box in reversed(by_score(boxes))}.values())


def _matched(pair: Pair) -> list[tuple[Phrase, list[int]]]:
    """Each phrase of the truth with the expressions that are of it."""
    annotation = pair.annotation
    found: list[list[int]]
    if annotation.categories:
        found = match_categories(annotation.phrases, pair.expressions)
    else:
        one_each = match_phrases(annotation, pair.expressions, pair.cleaned_caption)
        found = [[] if number is None else [number] for number in one_each]
    return list(zip(annotation.phrases, found, strict=True))
