# SPDX-License-Identifier: Apache-2.0
"""The steps in their order; another one is a module and a row."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from image_grounding.errors import SpecError
from image_grounding.steps.extraction import EXTRACTION
from image_grounding.steps.grounding import GROUNDING
from image_grounding.steps.step import Step

AnyStep = Step[Any]

_STEPS: list[AnyStep] = [EXTRACTION, GROUNDING]


def all_steps() -> tuple[AnyStep, ...]:
    """Every step, in order."""
    return tuple(_STEPS)


def step_numbers() -> list[str]:
    """The number of every step, in order."""
    return [step.number for step in _STEPS]


def register(step: AnyStep) -> None:
    """Add a step behind the others; one of the same number takes the other's place."""
    _STEPS[:] = [known for known in _STEPS if known.number != step.number]
    _STEPS.append(step)
    needed_by.cache_clear()


def chosen_steps(numbers: Sequence[str]) -> tuple[AnyStep, ...]:
    """The steps of these numbers, in order.

    Raises:
        SpecError: one of them needs a step between them that is left out.
    """
    steps = tuple(step for step in _STEPS if step.number in numbers)
    for index, step in enumerate(steps):
        for need in needed_by(step):
            left_out = need not in steps
            behind = any(_STEPS.index(before) < _STEPS.index(need) for before in steps[:index])
            if left_out and behind:
                raise SpecError(
                    f"image_grounding.workflow.steps: step {step.number} needs step {need.number}"
                )
    return steps


def given_steps(steps: Sequence[AnyStep]) -> tuple[AnyStep, ...]:
    """The steps whose results the first of ``steps`` takes from given records, in order."""
    return needed_by(steps[0])


@lru_cache(maxsize=64)
def needed_by(step: AnyStep) -> tuple[AnyStep, ...]:
    """All steps that ``step`` works on, directly or not, in order."""
    numbers = set(step.needs)
    for known in reversed(_STEPS):
        if known.number in numbers:
            numbers |= set(known.needs)
    return tuple(known for known in _STEPS if known.number in numbers)
