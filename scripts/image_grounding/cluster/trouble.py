# SPDX-License-Identifier: Apache-2.0
"""Errors as plain values, which go from one process to another whatever their class takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from image_grounding import errors
from image_grounding.errors import ImageGroundingError


class WorkerError(Exception):
    """What no error of ours is: a bug, in a worker's process."""


@dataclass(frozen=True)
class Trouble:
    """An error.

    Attributes:
        kind: name of its class.
        message: its text.
        facts: its attributes; none of an error that is not ours.
    """

    kind: str
    message: str
    facts: Mapping[str, Any]


def as_trouble(error: Exception) -> Trouble:
    """An error as a plain value."""
    ours = isinstance(error, ImageGroundingError)
    return Trouble(type(error).__name__, str(error), dict(vars(error)) if ours else {})


def as_error(trouble: Trouble) -> Exception:
    """The error that ``as_trouble`` was given; a ``WorkerError`` in place of one not ours."""
    kind = getattr(errors, trouble.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, ImageGroundingError)):
        return WorkerError(f"{trouble.kind}: {trouble.message}")
    error = kind.__new__(kind)  # not called: classes take different arguments
    error.args = (trouble.message,)
    vars(error).update(trouble.facts)
    return error
