# SPDX-License-Identifier: Apache-2.0
"""When failures end a run: before a million samples meet an endpoint that cannot do the work."""

from collections import Counter
from dataclasses import dataclass, field

from image_grounding.errors import (
    EndpointError,
    RejectedRequestError,
    RunEndingError,
    SampleError,
    UnreachableError,
    UnusableEndpointError,
)
from image_grounding.steps.table import AnyStep

# A model none of whose first answers can be used will not do better later.
_FIRST_SAMPLES = 20
_MODELS_FAULT = frozenset(
    {"reply_unparseable", "reply_truncated", "reply_refused", "reply_unusable", "unanswered"}
)


@dataclass
class Breaker:
    """Looks at the failures of a run, each step for itself.

    Attributes:
        limit: so many samples in a row that the endpoint failed end the run.
    """

    limit: int
    _in_a_row: Counter[AnyStep] = field(default_factory=Counter)
    _never_right: Counter[AnyStep] = field(default_factory=Counter)
    _succeeded: set[AnyStep] = field(default_factory=set)

    def succeeded(self, step: AnyStep) -> None:
        """A sample's step was done."""
        self._in_a_row[step] = 0
        self._succeeded.add(step)

    def error_after(
        self, step: AnyStep, error: Exception, *, answered: bool
    ) -> EndpointError | None:
        """The error that a failure ends the run with; None where it costs one sample.

        Args:
            step: the step that failed.
            error: what happened.
            answered: whether the endpoint has answered anything in this run. If it has, even a
                refused key may be one sample's own (a firewall that dislikes a caption).
        """
        if isinstance(error, RunEndingError):
            return error
        if isinstance(error, EndpointError) and (error.fatal or error.transient):
            never_there = error.fatal or isinstance(error, UnreachableError)
            if never_there and not answered:
                return error
            self._in_a_row[step] += 1
            if self._in_a_row[step] >= self.limit:
                return _ended(error, f"{self._in_a_row[step]} samples in a row failed")
        models = isinstance(error, SampleError) and error.reason in _MODELS_FAULT
        if (models or isinstance(error, RejectedRequestError)) and step not in self._succeeded:
            self._never_right[step] += 1
            if self._never_right[step] >= max(_FIRST_SAMPLES, self.limit):
                return _ended(error, f"the first {self._never_right[step]} samples all failed so")
        return None


def _ended(error: Exception, why: str) -> UnusableEndpointError:
    remedy = error.remedy if isinstance(error, EndpointError) else None
    return UnusableEndpointError(f"{error}; the run stops: {why}", remedy=remedy)
