# SPDX-License-Identifier: Apache-2.0
"""How much is asked at once: a gate for requests in flight, buckets for rates."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator


class Gate:
    """Lets at most ``limit`` requests be in flight; closed for everyone while paused.

    Attributes:
        limit: see ``set_limit``.
        in_flight: requests now.
        most_in_flight: the most that there were at once.
        opened_at: when, on the monotonic clock, the latest pause ends.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self.most_in_flight = 0
        self._changed = asyncio.Condition()
        self.opened_at = 0.0

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        async with self._changed:
            while True:
                wait = self.opened_at - time.monotonic()
                if wait <= 0 and self.in_flight < self.limit:
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait if wait > 0 else None):
                        await self._changed.wait()
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1
            async with self._changed:
                self._changed.notify()

    async def set_limit(self, limit: int) -> None:
        """Let so many be in flight from now on; those that are in flight stay."""
        if limit != self.limit:
            async with self._changed:
                self.limit = limit
                self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Let nobody start for ``seconds`` from now: the server asked everyone to wait."""
        self.opened_at = max(self.opened_at, time.monotonic() + seconds)


class Bucket:
    """A token bucket on the monotonic clock: ``per_minute`` units a minute, in even flow.

    Starts with one tenth of a minute's units, so that a run does not open with a burst.
    """

    def __init__(self, per_minute: float) -> None:
        self._rate = per_minute / 60
        self._capacity = max(per_minute / 10, 1.0)
        self._level = self._capacity
        self._at = time.monotonic()

    async def take(self, units: float) -> None:
        """Wait until ``units`` may be spent, and spend them."""
        now = time.monotonic()
        self._level = min(self._capacity, self._level + (now - self._at) * self._rate)
        self._at = now
        self._level -= units
        if self._level < 0:
            await asyncio.sleep(-self._level / self._rate)

    def spend(self, units: float) -> None:
        """Take ``units`` that are gone already, or give back: later takers wait accordingly."""
        self._level -= units
