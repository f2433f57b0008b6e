# SPDX-License-Identifier: Apache-2.0
"""Rates that requests keep to: of one process, or of several that share a quota."""

import asyncio
import contextlib
import time
from collections import deque
from typing import Protocol

from image_grounding.asking.leases import LATEST_S, LEASE_S, SHARE, Leases
from image_grounding.asking.limits import Bucket
from image_grounding.errors import SharedLimitError

# At its end a run pays what it owes if that is done in so long.
_PARTING_S = 5.0
# Units that somebody waits for.
_Place = tuple[float, asyncio.Future[None]]


class Rate(Protocol):
    """So many units a minute."""

    async def take(self, units: float) -> None:
        """Wait until ``units`` may be spent, and spend them."""
        ...

    def spend(self, units: float) -> None:
        """Take ``units`` that are gone already, or give back: later takers wait accordingly."""
        ...

    async def close(self) -> None:
        """No more takers."""
        ...


def make_rate(name: str, per_minute: float | None, leases: Leases | None) -> Rate | None:
    """The rate of a quota; None where there is none."""
    if per_minute is None:
        return None
    return SharedRate(name, per_minute, leases) if leases else Bucket(per_minute)


class SharedRate:
    """A rate that other processes take from, too: what is taken is leased first.

    A lease is for those who wait now, so that none is held for nothing.

    Args:
        name: of the quota.
        per_minute: units of all processes together.
        leases: where they are had.
    """

    def __init__(self, name: str, per_minute: float, leases: Leases) -> None:
        self._name = name
        self._per_minute = per_minute
        self._a_second = per_minute * SHARE / 60
        self._leases = leases
        self._waiting: deque[_Place] = deque()
        self._owed = 0.0
        self._server: asyncio.Task[None] | None = None

    async def take(self, units: float) -> None:
        """See ``Rate.take``; raises SharedLimitError where there is no lease to be had."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.append((units, place))
        if self._server is None or self._server.done():
            self._server = asyncio.create_task(self._serve())
        await place

    def spend(self, units: float) -> None:
        """See ``Rate.spend``."""
        self._owed += units

    async def close(self) -> None:
        """Pay what is owed, so that the others wait for it."""
        if self._server:
            self._server.cancel()
            await asyncio.gather(self._server, return_exceptions=True)
        if self._owed > 0:
            with contextlib.suppress(SharedLimitError, TimeoutError):
                async with asyncio.timeout(_PARTING_S):
                    await self._leases.lease(self._name, self._per_minute, 0.0, self._owed)
        self._owed = 0.0

    async def _serve(self) -> None:
        """Until nobody waits any more."""
        try:
            while batch := self._next():
                await self._serve_some(batch)
        except SharedLimitError as error:
            for _, place in self._waiting:
                if not place.done():
                    place.set_exception(error)
            self._waiting.clear()

    def _next(self) -> list[_Place]:
        """The first who wait, as many as one lease is for; they stay where they are."""
        batch: list[_Place] = []
        units = 0.0
        while self._waiting and self._waiting[0][1].done():  # cancelled
            self._waiting.popleft()
        for place in self._waiting:
            units += place[0]
            if batch and units > self._a_second * LEASE_S:
                break
            batch.append(place)
        return batch

    async def _serve_some(self, batch: list[_Place]) -> None:
        owed, self._owed = self._owed, 0.0
        wanted = sum(units for units, _ in batch) + min(owed, 0.0)
        if wanted + max(owed, 0.0) <= 0:
            self._owed = wanted
            due = time.monotonic()
        else:
            due = await self._leases.lease(self._name, self._per_minute, wanted, max(owed, 0.0))
        for units, place in batch:
            if (pause := due - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            elif pause < -LATEST_S:
                return  # it has passed by: those who still wait get another lease
            self._waiting.popleft()
            if not place.done():
                place.set_result(None)
            due += units / self._a_second
