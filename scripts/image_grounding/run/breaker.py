# SPDX-License-Identifier: Apache-2.0
"""When failures end a run: before a million samples meet an endpoint that cannot do the work."""

from collections import Counter
from dataclasses import dataclass, field

from image_grounding.errors import (
    BlockedError,
    ClusterError,
    EndpointError,
    RejectedRequestError,
    RunEndingError,
    SampleError,
    StoreUnusableError,
    UnreachableError,
    UnusableEndpointError,
)
from image_grounding.images.source import UNAVAILABLE
from image_grounding.steps.table import AnyStep

# A model none of whose first answers can be used will not do better later; an endpoint that
# rejects so many requests in a row does not reject them for what is in them.
_FEW_SAMPLES = 20
_MODELS_FAULT = frozenset(
    {"reply_unparseable", "reply_truncated", "reply_refused", "reply_unusable", "unanswered"}
)
INTERNAL = "internal_error"
# Why a sample has failed over whose picture the workers of a cluster end.
WORKER_LOST = "worker_lost"


@dataclass
class Breaker:
    """Looks at the failures of a run, each step for itself.

    Attributes:
        limit: so many samples in a row that the endpoint, or the store of the pictures, failed
            end the run.
    """

    limit: int
    _failed: Counter[AnyStep] = field(default_factory=Counter)
    _doubtful: Counter[AnyStep] = field(default_factory=Counter)
    _succeeded: set[AnyStep] = field(default_factory=set)

    def succeeded(self, step: AnyStep) -> None:
        """A sample's step was done."""
        self._failed[step] = self._doubtful[step] = 0
        self._succeeded.add(step)

    def recalled(self, step: AnyStep) -> None:
        """A sample's step had been done before: what stands between such was its own failure."""
        self._doubtful[step] = 0

    def error_after(
        self, step: AnyStep, error: Exception, *, answered: bool, again: bool = False
    ) -> EndpointError | None:
        """The error that a failure ends the run with; None where it costs one sample.

        Args:
            step: the step that failed.
            error: what happened.
            answered: whether the endpoint has answered anything in this run. If it has, even a
                refused key may be one sample's own (a firewall that dislikes a caption).
            again: whether the sample failed in an earlier run, too: then it says nothing new, and
                a row of such ends no run a second time.
        """
        if isinstance(error, RunEndingError):
            return error
        never_there = getattr(error, "fatal", False) or isinstance(error, UnreachableError)
        if isinstance(error, EndpointError) and never_there and not answered:
            return error
        if self._may_be_its_own(step, error):
            self._doubtful[step] += not again
            if (count := self._doubtful[step]) >= max(_FEW_SAMPLES, self.limit):
                first = step not in self._succeeded
                why = (
                    "the first {} samples all failed so" if first else "{} samples in a row failed"
                )
                return _ended(error, why.format(count))
        elif not _is_its_own(error):
            self._failed[step] += 1
            if (count := self._failed[step]) >= self.limit:
                return _ended(error, f"{count} samples in a row failed")
        return None

    def _may_be_its_own(self, step: AnyStep, error: Exception) -> bool:
        """Whether only many failures alike show that they are not the samples'."""
        if isinstance(error, SampleError):
            return error.reason in _MODELS_FAULT and step not in self._succeeded
        return isinstance(error, RejectedRequestError)


def _is_its_own(error: Exception) -> bool:
    """Whether a failure says nothing of the samples to come."""
    if isinstance(error, SampleError):
        return error.reason not in (INTERNAL, UNAVAILABLE, WORKER_LOST)
    return isinstance(error, BlockedError)


def _ended(error: Exception, why: str) -> EndpointError:
    if isinstance(error, SampleError) and error.reason == UNAVAILABLE:
        return StoreUnusableError(f"{error}; the run stops: {why}")
    if isinstance(error, SampleError) and error.reason == WORKER_LOST:
        return ClusterError(f"{error}; the run stops: {why}")
    remedy = error.remedy if isinstance(error, EndpointError) else None
    if not _is_its_own(error) and isinstance(error, SampleError):
        remedy = "this is a bug: report it with the message; the same command goes on"
    return UnusableEndpointError(f"{error}; the run stops: {why}", remedy=remedy)
