# SPDX-License-Identifier: Apache-2.0
"""How many requests at once an endpoint does well with, found while it is asked.

Additive increase, multiplicative decrease, in rounds of as many answers as may be in flight
twice. A round that was full and faster than the one before earns a higher limit; one that was
not goes back, so that an endpoint that only queues is not flooded. An error of an overloaded
endpoint halves the limit and is remembered: what failed is not tried again for a good while.
"""

import time
from collections.abc import Callable

from image_grounding.errors import (
    EndpointError,
    EndpointTimeoutError,
    RateLimitedError,
    ServerFaultError,
)
from image_grounding.spec.model import MOST_WORKERS_FOUND

START = 4
# Of the growth of the limit, what the answers a second must grow by to earn another step.
_WORTH = 0.4
# Rounds without a step: after a round that was no faster, and before an old failure is forgotten.
_HOLD, _FORGET = 3, 10


class Capacity:
    """The limit on requests in flight of one run.

    Args:
        start: the first limit.
        ceiling: the highest limit.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        start: int = START,
        ceiling: int = MOST_WORKERS_FOUND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = start
        self._most = ceiling
        self._ceiling = ceiling
        self._clock = clock
        self._rate = 0.0
        self._hold = 0
        self._calm = 0
        self._last_cut = float("-inf")
        self._before = start
        self._begin()

    def answered(self, at_once: int) -> int:
        """Count an answer to a request that was one of ``at_once`` in flight; the limit."""
        self._answers += 1
        self._full += at_once >= self.limit
        if self._answers >= 2 * self.limit:
            self._end_round()
        return self.limit

    def failed(self, error: EndpointError, at_once: int, sent: float) -> int:
        """Count an error of a request sent at the time ``sent``; the limit."""
        overloaded = isinstance(error, RateLimitedError | EndpointTimeoutError) or (
            isinstance(error, ServerFaultError) and error.status == 503
        )
        # Those sent before the last cut tell nothing new.
        if overloaded and sent > self._last_cut:
            self._last_cut = self._clock()
            self._ceiling = max(1, min(self.limit, at_once) - 1)
            self.limit = min(self._ceiling, max(1, self.limit // 2))
            self._rate, self._hold, self._calm, self._before = 0.0, 1, 0, self.limit
            self._begin()
        return self.limit

    def _begin(self) -> None:
        self._answers = self._full = 0
        self._began = self._clock()

    def _end_round(self) -> None:
        seconds = max(self._clock() - self._began, 1e-6)
        rate = self._answers / seconds
        full = self._full * 2 >= self._answers
        self._begin()
        self._calm += 1
        if self._calm % _FORGET == 0:
            self._ceiling = min(self._ceiling + 1, self._most)
        if not full:  # the endpoint was not put to the test
            return
        if self._hold:
            self._hold -= 1
            self._rate = 0.0
        elif rate > self._rate * (1 + _WORTH * (self.limit - self._before) / self._before):
            self._rate, self._before = rate, self.limit
            # In larger steps until something has failed.
            steps = 4 if self._ceiling == self._most else 8
            self.limit = min(self.limit + max(1, self.limit // steps), self._ceiling)
        else:
            self.limit, self._hold = min(self._before, self._ceiling), _HOLD
