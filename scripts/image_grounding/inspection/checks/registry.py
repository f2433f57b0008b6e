# SPDX-License-Identifier: Apache-2.0
"""The record-level checks: their descriptions and functions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from image_grounding.boxes.geometry import PixelBox
from image_grounding.images.pixels import Header
from image_grounding.inspection.model import Check, Flag
from image_grounding.results.reading import Record


@dataclass(frozen=True)
class Subject:
    """A record with the header of its image file, None where that is unreadable."""

    record: Record
    header: Header | None

    def boxes(self) -> Iterator[tuple[int, int, PixelBox]]:
        """Every box with the indices of its expression and instance."""
        for number, expression in enumerate(self.record.expressions):
            for index, instance in enumerate(expression.instances):
                yield number, index, instance.bbox


@dataclass(frozen=True)
class Hit:
    """What a check function yields: a ``Flag`` without the name of the check."""

    detail: str = ""
    expression: int | None = None
    instances: tuple[int, ...] = ()


CheckFunction = Callable[[Subject], Iterator[Hit]]


@dataclass
class Registry:
    """Checks and their functions, in order of definition."""

    checks: list[Check] = field(default_factory=list)
    _functions: list[tuple[str, CheckFunction, bool]] = field(default_factory=list)

    def add(
        self, sentence: str, remedy: str, *, weight: int = 1, after_grounding: bool = False
    ) -> Callable[[CheckFunction], CheckFunction]:
        """Register a function as the check of its name.

        Args:
            sentence: see ``Check``.
            remedy: see ``Check``.
            weight: see ``Check``.
            after_grounding: whether it applies only once step 1 has run.
        """

        def register(function: CheckFunction) -> CheckFunction:
            name = function.__name__
            self.checks.append(Check(name, sentence, remedy, weight=weight))
            self._functions.append((name, function, after_grounding))
            return function

        return register

    def flags(self, subject: Subject) -> tuple[Flag, ...]:
        """The flags of one record."""
        return tuple(
            Flag(name, hit.detail, hit.expression, hit.instances)
            for name, function, after_grounding in self._functions
            if subject.record.grounded or not after_grounding
            for hit in function(subject)
        )


RECORD = Registry()
