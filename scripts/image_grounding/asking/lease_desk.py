# SPDX-License-Identifier: Apache-2.0
"""Who gets which piece of a quota, where all who share it ask one process.

A piece is given out no earlier than a second before its end: until then those who want it wait in
the order in which they came. So nothing that was ever given out reaches farther than that second,
and a process that begins anew, whatever happened to the one before, has only to let it pass.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from image_grounding.asking.leases import GONE_S, Flow
from image_grounding.errors import SharedLimitError

# How far into the future what is given out may reach.
HORIZON_S = 1.0
# A quota of another name takes the place of one that nobody uses any more.
_MOST_NAMES = 100


@dataclass
class _Line:
    """A flow and those who wait for a piece of it.

    Attributes:
        flow: what is given out of.
        turn: held by who is next.
        waiting: how many there are.
        debt: units that were used beyond what was leased for them; they are gone already.
    """

    flow: Flow
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    debt: float = 0.0

    def settle(self, now: float) -> None:
        """Let the flow pass by for what is owed."""
        if self.debt:
            self.flow.lease(self.debt, now)
            self.debt = 0.0


@dataclass(frozen=True)
class Given:
    """A lease, or why there is none.

    Attributes:
        in_s: in how many seconds the first unit may be used.
        held_s: how long who asked had to wait for it.
        kept: where other runs keep to another quota of this name, which one; else None.
    """

    in_s: float = 0.0
    held_s: float = 0.0
    kept: float | None = None


class Desk:
    """Gives out leases to those who ask.

    Make it when nobody else gives out the same quota any more.

    Args:
        known: flows of the process before this one: what runs agreed on. When what it gave out
            may be used is taken as unknown.
        clock: seconds, which never go back.

    Attributes:
        news: set when runs begin to use a quota.
    """

    def __init__(
        self, known: Mapping[str, Flow], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._begin = clock() + HORIZON_S
        self._closed = False
        self.news = asyncio.Event()
        self._lines = {
            name: _Line(Flow(flow.per_minute, self._begin)) for name, flow in known.items()
        }

    async def lease(self, name: str, per_minute: float, units: float, owed: float) -> Given | None:
        """Wait for a piece of the quota ``name``; None where no more are given out.

        Who stops waiting gets none, and leaves its place to the next.

        Raises:
            SharedLimitError: there are too many names.
        """
        came = self._clock()
        line = self._line(name, per_minute, came)
        if line.flow.per_minute != per_minute:
            return Given(kept=line.flow.per_minute)
        line.debt += owed
        if not line.turn.locked():
            line.settle(came)
        if units <= 0:
            return Given()
        line.waiting += 1
        try:
            async with line.turn:
                line.settle(self._clock())
                start, end = line.flow.piece(units, self._clock())
                while (pause := end - HORIZON_S - self._clock()) > 0 and not self._closed:
                    await asyncio.sleep(pause)
                if self._closed:
                    return None
                now, line.flow.next = self._clock(), end
                return Given(max(start, end - HORIZON_S) - now, now - came)
        finally:
            line.waiting -= 1

    def close(self) -> None:
        """Give out no more."""
        self._closed = True

    def flows(self) -> Iterator[tuple[str, Flow, int]]:
        """Name, flow and number of those who wait; ``next`` in seconds from now."""
        now = self._clock()
        for name, line in self._lines.items():
            yield name, Flow(line.flow.per_minute, line.flow.next - now), line.waiting

    def _line(self, name: str, per_minute: float, now: float) -> _Line:
        line = self._lines.get(name)
        if line is None or (line.flow.per_minute != per_minute and self._is_idle(line, now)):
            if line is None and len(self._lines) >= _MOST_NAMES and not self._make_room(now):
                raise SharedLimitError("too many names")
            line = self._lines[name] = _Line(Flow(per_minute, max(now, self._begin)))
            self.news.set()
        return line

    def _make_room(self, now: float) -> bool:
        idle = [name for name, line in self._lines.items() if self._is_idle(line, now)]
        for name in idle:
            del self._lines[name]
        return bool(idle)

    def _is_idle(self, line: _Line, now: float) -> bool:
        return not line.waiting and line.flow.is_idle(now)


def still_known(flows: Mapping[str, Flow], now: float, late_s: float) -> dict[str, Flow]:
    """The flows of a state that runs may still be using.

    Args:
        flows: as they were written.
        now: on the clock by which they were written.
        late_s: how much older than the last use the state may be.
    """
    return {name: flow for name, flow in flows.items() if flow.next >= now - GONE_S - late_s}
