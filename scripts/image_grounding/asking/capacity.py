# SPDX-License-Identifier: Apache-2.0
"""How many requests at once an endpoint does well with, found while it is asked.

The limit rises or stays. It rises by one an answer, as in the slow start of TCP, to twice a number
that was good, as long as that is worth it: each answer says how many a second there are with so
many in flight (Little's law: requests in flight by seconds of an answer), and their median must
grow by a good part of what the limit grew by. Where it does not, requests only queue. Medians, for
some answers take ten times as long as others.

A refused request is one too many and takes its place with it: the limit goes down by one for each,
so that it ends at what the endpoint serves, whether that refuses at once or late. So does one that
is not answered in time.

At such a ceiling the limit stays for some seconds. Then a little more is tried: where that is no
good either, the next try comes later; where it is, the steps grow until the limit doubles again.
"""

import time
from collections import deque
from collections.abc import Callable
from statistics import median

from image_grounding.errors import (
    EndpointError,
    EndpointTimeoutError,
    RateLimitedError,
    ServerFaultError,
)
from image_grounding.spec.model import FIRST_WORKERS, MOST_WORKERS_FOUND

# Of the growth of the limit, what the answers a second must grow by to be worth it.
_WORTH = 0.4
# What is tried after a stay, as a share of the limit: little where requests were refused, for that
# shows at once; more where they only took longer. Where that is no faster, the limit goes down by
# half of it, because less may be as fast.
_TRY_REFUSED, _TRY = 1 / 32, 1 / 8
# How long the limit stays, at first and at most.
_SHORTEST_S, _LONGEST_S = 1.0, 10.0
# Answers that are looked at, at least.
_FEWEST = 4


class _Answers:
    """What answers to requests sent since a time say: in flight, and so many a second."""

    def __init__(self, since: float, most: int) -> None:
        self.since = since
        self._figures: deque[tuple[int, float]] = deque(maxlen=most)

    def __len__(self) -> int:
        return len(self._figures)

    def add(self, at_once: int, sent: float, now: float) -> None:
        if sent >= self.since:
            self._figures.append((at_once, at_once / max(now - sent, 1e-6)))

    def typical(self) -> tuple[float, float]:
        in_flight, a_second = zip(*self._figures, strict=True)
        return median(in_flight), median(a_second)


class Capacity:
    """The limit on requests in flight of one run.

    Args:
        start: the first limit.
        most: the highest limit.
        clock: seconds, monotonic.

    Attributes:
        limit: how many requests may be in flight now.
        why: what keeps it there, in a few words.
    """

    def __init__(
        self,
        start: int = FIRST_WORKERS,
        most: int = MOST_WORKERS_FOUND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = start
        self.why = "rising"
        self._most = most
        self._clock = clock
        self._rising, self._growth, self._first, self._doubted = True, 1.0, False, False
        self._stays, self._until = _SHORTEST_S, 0.0
        # The number that was good, and what answers say of up to so many and of more.
        self._good = start
        self._below, self._above = self._answers(), self._answers()
        self._refused = self._were = 0
        self._late_since, self._half = float("-inf"), 0

    @property
    def refuses_all(self) -> bool:
        """Whether as many as were in flight have been refused, and nothing answered since."""
        return self._refused >= self._were > 0

    def answered(self, at_once: int, sent: float) -> int:
        """Count an answer to a request sent at a time, one of ``at_once`` in flight; the limit."""
        self._refused = self._were = 0
        if 2 * at_once < self.limit:  # the endpoint is not put to the test
            return self.limit
        if self._rising:
            target = self._good + max(1, int(self._good * self._growth))
            self.limit = max(self.limit, min(self.limit + 1, target, self._most))
        now = self._clock()
        (self._above if at_once > self._good else self._below).add(at_once, sent, now)
        # The quick answers come first: before a higher limit is given up, late ones are awaited.
        careful = self._first or self._doubted
        enough = max(2 * _FEWEST, 2 * self.limit) if careful else max(_FEWEST, self.limit // 2)
        if not self._rising:
            if now >= self._until and len(self._below) >= enough:
                self._rising, self._above = True, self._answers()
        elif len(self._above) >= enough and self._below:
            self._look(careful)
        return self.limit

    def failed(self, error: EndpointError, at_once: int, sent: float) -> int:
        """Count an error of a request sent at a time, one of ``at_once`` in flight; the limit."""
        late = isinstance(error, EndpointTimeoutError)
        refused = isinstance(error, RateLimitedError) or (
            isinstance(error, ServerFaultError) and error.status == 503
        )
        if refused:
            self._were = self._were or at_once
            self._refused += 1
            self._stay(min(self.limit, at_once) - 1, "refused", _TRY_REFUSED)
        elif late:
            if sent > self._late_since:
                self._late_since, self._half = self._clock(), self.limit // 2
            self._stay(max(self.limit - 1, self._half), "not answered in time", _TRY)
        return self.limit

    def _look(self, careful: bool) -> None:
        """Decide whether more than what was good is better."""
        (before, slower), (now, faster) = self._below.typical(), self._above.typical()
        unrefused = self._first and self._growth == _TRY_REFUSED
        if unrefused or faster >= slower * (1 + _WORTH * (now / before - 1)):
            self._good, self._below, self._above = self.limit, self._above, self._answers()
            self._growth = min(max(2 * self._growth, _TRY), 1.0)
            self._first = self._doubted = False
            self._stays = _SHORTEST_S
            self.why = "rising" if self.limit < self._most else f"{self._most} is the most"
        elif careful:
            self._stay(self._good - int(self._good * _TRY / 2), "no faster", _TRY)
        else:
            self._doubted = True

    def _stay(self, limit: int, why: str, then: float) -> None:
        """Keep to a limit, until it is time to try a share ``then`` more."""
        if self._rising and self._first:  # the ceiling proved true
            self._stays = min(2 * self._stays, _LONGEST_S)
        self._rising, self._growth, self._first, self._doubted = False, then, True, False
        self.limit = self._good = max(limit, 1)
        self.why = f"{why} above {self.limit}"
        self._until = self._clock() + self._stays
        self._below, self._above = self._answers(), self._answers()

    def _answers(self) -> _Answers:
        return _Answers(self._clock(), 2 * self._most)
