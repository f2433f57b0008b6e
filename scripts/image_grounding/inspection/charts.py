# SPDX-License-Identifier: Apache-2.0
"""The bar charts of the report, from running counts."""

from bisect import bisect_right
from collections.abc import Callable

from image_grounding.inspection.model import Chart
from image_grounding.results.reading import Record


class _Histogram:
    """Counts in ranges of a number; ``edges`` are the lower bounds of all ranges but the first."""

    def __init__(
        self, title: str, edges: tuple[float, ...], label: Callable[[float, float], str]
    ) -> None:
        self._title, self._edges, self._label = title, edges, label
        self._counts = [0] * (len(edges) + 1)
        self._missing = 0

    def add(self, number: float | None) -> None:
        if number is None:
            self._missing += 1
        else:
            self._counts[bisect_right(self._edges, number)] += 1

    def chart(self) -> Chart:
        bounds = (float("-inf"), *self._edges, float("inf"))
        labels = map(self._label, bounds, bounds[1:])
        bars = tuple(zip(labels, self._counts, strict=False))
        return Chart(self._title, (*bars, ("none", self._missing)) if self._missing else bars)


def _whole_label(low: float, high: float) -> str:
    if low == float("-inf"):
        return "0"
    return f"{low:.0f}+" if high == float("inf") else f"{low:.0f}"


def _range_label(factor: int, unit: str) -> Callable[[float, float], str]:
    def label(low: float, high: float) -> str:
        if low == float("-inf"):
            return f"< {high * factor:g}{unit}"
        if high == float("inf"):
            return f">= {low * factor:g}{unit}"
        return f"{low * factor:g}-{high * factor:g}{unit}"

    return label


class Charts:
    """The running counts of every chart."""

    def __init__(self) -> None:
        self._grounded = {"grounded": 0, "ungrounded": 0}
        self._expressions = _Histogram(
            "Expressions a caption", (1, 2, 3, 4, 5, 6, 7, 8), _whole_label
        )
        self._instances = _Histogram("Boxes an expression", (1, 2, 3, 4, 5), _whole_label)
        areas = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.9)
        self._areas = _Histogram("Box area, of the image", areas, _range_label(100, " %"))
        scores = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
        self._scores = _Histogram("Score of a box", scores, _range_label(1, ""))
        self._any_grounded = False

    def add(self, record: Record) -> None:
        """Count a record."""
        self._expressions.add(len(record.expressions))
        if not record.grounded:
            return
        self._any_grounded = True
        for expression in record.expressions:
            self._instances.add(len(expression.instances))
            self._grounded["grounded" if expression.instances else "ungrounded"] += 1
            for instance in expression.instances:
                x1, y1, x2, y2 = instance.bbox
                pixels = max(record.size[0] * record.size[1], 1)
                self._areas.add((x2 - x1) * (y2 - y1) / pixels)
                self._scores.add(instance.score)

    def charts(self) -> tuple[Chart, ...]:
        """The charts; before step 1 only the one about expressions."""
        expressions = self._expressions.chart()
        if not self._any_grounded:
            return (expressions,)
        grounded = Chart("Expressions grounded", tuple(self._grounded.items()))
        histograms = (self._instances, self._areas, self._scores)
        return (expressions, grounded, *(histogram.chart() for histogram in histograms))
