# SPDX-License-Identifier: Apache-2.0
"""Which boxes and expressions of a record are exported, and why the others are not."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from image_grounding.boxes.frames import Size
from image_grounding.results.reading import GroundedExpression, Record
from image_grounding.steps.annotations import Instance

_Pair = tuple[GroundedExpression, dict[str, Any]]


@dataclass(frozen=True)
class BoxFilter:
    """Which boxes and expressions are wanted.

    Attributes:
        min_score: boxes with a lower score are left out, and those without one, which cannot be
            shown to reach it; None for all boxes. An expression that loses all its boxes so is
            left out too: to keep it would say that it is not in the image.
        drop_ungrounded: whether expressions without a box are left out.
    """

    min_score: float | None = None
    drop_ungrounded: bool = False

    def apply(self, record: Record, left_out: Counter[str], *, single_box: bool = False) -> Record:
        """``record`` with what is wanted of it, ``fields`` too; ``left_out`` counts the rest.

        With ``single_box`` expressions of several boxes are left out; what counts are the boxes
        that the model gave, whatever their scores: two dogs do not become one.
        """
        kept: list[_Pair] = []
        for expression, item in zip(record.expressions, record.fields["expressions"], strict=True):
            if single_box and len(expression.instances) > 1:
                left_out["expressions_of_several_boxes"] += 1
                left_out["boxes_of_left_out_expressions"] += len(expression.instances)
                continue
            pair = self._filtered(expression, item, record.size, left_out)
            if expression.instances and not pair[0].instances:
                left_out["expressions_left_without_box"] += 1
            elif self.drop_ungrounded and not pair[0].instances:
                left_out["expressions_without_box"] += 1
            else:
                kept.append(pair)
        return _with(record, kept)

    def _filtered(
        self,
        expression: GroundedExpression,
        item: dict[str, Any],
        size: Size,
        left_out: Counter[str],
    ) -> _Pair:
        kept: list[tuple[Instance, Mapping[str, Any]]] = []
        for instance, fields in zip(expression.instances, item.get("instances") or (), strict=True):
            if reason := self._exclusion(instance, size):
                left_out[reason] += 1
            else:
                kept.append((instance, fields))
        return (
            replace(expression, instances=tuple(instance for instance, _ in kept)),
            {**item, "instances": [fields for _, fields in kept]},
        )

    def _exclusion(self, instance: Instance, size: Size) -> str | None:
        x1, y1, x2, y2 = instance.bbox
        if not (0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]):
            return "boxes_outside_image"  # records made by other tools may hold such
        if self.min_score is None:
            return None
        if instance.score is None:
            return "boxes_without_score"
        return "boxes_below_min_score" if instance.score < self.min_score else None


def exclude(
    record: Record, exclusions: Callable[[Record], list[str | None]], left_out: Counter[str]
) -> Record:
    """``record`` with the expressions that a format can hold."""
    kept: list[_Pair] = []
    items = record.fields["expressions"]
    for expression, item, reason in zip(record.expressions, items, exclusions(record), strict=True):
        if reason:
            left_out[reason] += 1
            left_out["boxes_of_left_out_expressions"] += len(expression.instances)
        else:
            kept.append((expression, item))
    return _with(record, kept)


def _with(record: Record, pairs: list[_Pair]) -> Record:
    fields = {**record.fields, "expressions": [item for _, item in pairs]}
    return replace(record, expressions=tuple(expression for expression, _ in pairs), fields=fields)
