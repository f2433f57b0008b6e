# SPDX-License-Identifier: Apache-2.0
"""What a check-up finds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from image_grounding.errors import EndpointError


class Status(StrEnum):
    """How a step went; ``FAIL`` means that the endpoint cannot be used."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CheckStep:
    """One step: what was looked at, how it went, what to do next where it went badly."""

    name: str
    status: Status
    message: str
    remedy: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def failed(name: str, error: EndpointError) -> CheckStep:
    """The step that an error ends a check-up with."""
    return CheckStep(name, Status.FAIL, str(error), error.remedy)


@dataclass(frozen=True)
class CheckUp:
    """All steps that made sense, in order.

    Attributes:
        usable: whether a run would work.
        steps: what was looked at.
        takes: for each optional parameter, whether the endpoint takes it.
        conventions: mean IoU of each box convention; empty where it was not measured.
        estimate: what N samples would take; None where that is not known.
    """

    usable: bool
    steps: tuple[CheckStep, ...]
    takes: Mapping[str, bool] = field(default_factory=dict)
    conventions: Mapping[str, float] = field(default_factory=dict)
    estimate: Mapping[str, Any] | None = None
