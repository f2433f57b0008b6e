# SPDX-License-Identifier: Apache-2.0
"""How much is asked at once: a gate for requests in flight, buckets for rates."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator


class Gate:
    """Lets at most ``limit`` requests be in flight, first come, first served.

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
        self.opened_at = 0.0
        self._held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._pause_ends: asyncio.TimerHandle | None = None

    @contextlib.asynccontextmanager
    async def slot(
        self, *, at_once: bool = False, ready: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[None]:
        """Wait for a place and hold it.

        Args:
            at_once: take one whatever the limit.
            ready: awaited with the place kept, before it counts as in flight; again after a
                pause that began meanwhile.
        """
        if at_once:
            self._enter()
        else:
            await self._wait()
        try:
            if ready:
                await self._be(ready)
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            yield
        finally:
            self._leave()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep a place from others while nothing is sent in it."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._admit()

    def set_limit(self, limit: int) -> None:
        """Let so many be in flight from now on; those that are in flight stay."""
        self.limit = limit
        self._admit()

    def pause(self, seconds: float) -> None:
        """Let nobody start for ``seconds`` from now: the server asked everyone to wait."""
        self.opened_at = max(self.opened_at, time.monotonic() + seconds)

    def close(self) -> None:
        """Let nobody in until ``open``."""
        self._closed = True

    def open(self) -> None:
        """Let requests in again."""
        self._closed = False
        self._admit()

    async def _wait(self) -> None:
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it was let in at the same moment
                self._leave()
            raise

    async def _be(self, ready: Callable[[], Awaitable[None]]) -> None:
        self.in_flight -= 1
        self._held += 1
        try:
            await ready()
            while (left := self.opened_at - time.monotonic()) > 0:
                await asyncio.sleep(left)
                await ready()
        finally:
            self.in_flight += 1
            self._held -= 1

    def _enter(self) -> None:
        self.in_flight += 1

    def _leave(self) -> None:
        self.in_flight -= 1
        self._admit()

    def _admit(self) -> None:
        """Let in those whose turn it is."""
        while self._waiting and not self._closed and self.in_flight + self._held < self.limit:
            if (left := self.opened_at - time.monotonic()) > 0:
                if self._pause_ends is None:
                    loop = asyncio.get_running_loop()
                    self._pause_ends = loop.call_later(left, self._end_pause)
                return
            place = self._waiting.popleft()
            if not place.done():
                self._enter()
                place.set_result(None)

    def _end_pause(self) -> None:
        self._pause_ends = None
        self._admit()


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

    async def close(self) -> None:
        """Nothing is to be done."""
