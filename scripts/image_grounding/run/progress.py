# SPDX-License-Identifier: Apache-2.0
"""How a run is going, on stderr: a live line on a terminal, plain lines elsewhere."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from image_grounding.terminal import printable

_PLAIN_FIRST_S = (0.1, 1.0, 4.0)
_PLAIN_EVERY_S = 5.0
_LIVE_EVERY_S = 0.25
_PACE_OVER_S = 60.0


@dataclass(frozen=True)
class Snapshot:
    """Where a run is: samples, requests, tokens so far.

    Attributes:
        total: samples and bad lines of the input.
        done: through all steps.
        failed: did not get through.
        repeated: lines whose pair stands in the input before; nothing is asked for them.
        resumed: of those done, what was there already.
        steps: that each sample goes through.
        steps_done: steps that were asked for and done, of all samples.
        half_done: steps that samples which are not through yet have behind them.
        asking_s: seconds since the first question about a sample could be asked, or 0.
        in_flight: requests now.
        limit: how many there may be.
        requests: sent so far.
        retries: repeats among them.
        tokens: sent and received.
        why: why there may not be more, where that is being found.
        cost: of those tokens, or None where a price is unknown.
        silent: seconds for which the endpoint has not answered, or 0.
        waiting: for what all requests wait before they are sent, and how long; else empty.
    """

    total: int
    done: int
    failed: int
    repeated: int
    resumed: int
    steps: int
    steps_done: int
    half_done: int
    asking_s: float
    in_flight: int
    limit: int
    requests: int
    retries: int
    tokens: int
    why: str = ""
    cost: float | None = None
    silent: float = 0.0
    waiting: str = ""

    @property
    def left(self) -> int:
        """Samples that are not through yet."""
        return max(0, self.total - self.done - self.failed - self.repeated)

    @property
    def steps_left(self) -> int:
        """Steps that are still to be done, at most."""
        return max(0, self.left * self.steps - self.half_done)


class Reporter(Protocol):
    """Shows messages and how a run is going."""

    def say(self, message: str) -> None:
        """Show a message."""
        ...

    async def watch(self, look: Callable[[], Snapshot]) -> None:
        """Show what ``look`` sees, until cancelled."""
        ...


class Quiet:
    """Shows nothing."""

    def say(self, message: str) -> None:
        """Show nothing."""

    async def watch(self, look: Callable[[], Snapshot]) -> None:
        """Show nothing."""


class Plain:
    """Lines on stderr: a message each, and how it goes every few seconds."""

    def say(self, message: str) -> None:
        """Print a message."""
        print(printable(message), file=sys.stderr, flush=True)

    async def watch(self, look: Callable[[], Snapshot]) -> None:
        """Print a line every few seconds, and the first ones sooner."""
        pace = Pace()
        for pause in chain(_PLAIN_FIRST_S, repeat(_PLAIN_EVERY_S)):
            await asyncio.sleep(pause)
            now = look()
            pace.update(now)
            self.say(_sentence(now, pace))


class Live:
    """A bar with figures that stays at the bottom of the terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)

    def say(self, message: str) -> None:
        """Print a message above the bar."""
        self._console.print(Text(printable(message)), highlight=False, soft_wrap=True)

    async def watch(self, look: Callable[[], Snapshot]) -> None:
        """Redraw a few times a second."""
        pace = Pace()
        columns = (
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[figures]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            first = look()
            task = progress.add_task("", total=first.total, figures="")
            while True:
                now = look()
                pace.update(now)
                through = now.total - now.left
                figures = _sentence(now, pace)
                progress.update(task, total=now.total, completed=through, figures=figures)
                await asyncio.sleep(_LIVE_EVERY_S)


class Pace:
    """How fast a run goes: steps done a second over the last minute, before that from the start.

    Steps, and not samples: the first samples end late, their first steps do not. What was there
    already counts for nothing.
    """

    def __init__(self) -> None:
        # (seconds, steps done), no two within a second.
        self._looks: deque[tuple[float, int]] = deque([(0.0, 0)])
        self._steps_a_second = 0.0

    def update(self, now: Snapshot) -> None:
        """Take a look into account."""
        while len(self._looks) > 1 and self._looks[1][0] <= now.asking_s - _PACE_OVER_S:
            self._looks.popleft()
        since, before = self._looks[0]
        elapsed = now.asking_s - since
        self._steps_a_second = (now.steps_done - before) / elapsed if elapsed > 0 else 0.0
        if now.asking_s - self._looks[-1][0] >= 1:
            self._looks.append((now.asking_s, now.steps_done))

    def rate(self, now: Snapshot) -> float:
        """Samples a second."""
        return self._steps_a_second / now.steps

    def seconds_left(self, now: Snapshot) -> float | None:
        """How long the rest takes at this pace; None before there is one."""
        return now.steps_left / self._steps_a_second if self._steps_a_second else None


def _sentence(now: Snapshot, pace: Pace) -> str:
    left = pace.seconds_left(now)
    why = f" ({now.why})" if now.why else ""
    eta = "" if left is None else f"; about {_duration(left)} left"
    return (
        f"{now.done} done, {now.failed} failed of {now.total}; {now.requests} requests, in flight "
        f"{now.in_flight}/{now.limit}{why}; {pace.rate(now):.1f}/s; {now.retries} retries; "
        f"{now.tokens} tokens"
        + (f"; cost {now.cost:.4g}" if now.cost is not None else "")
        + eta
        + (f"; endpoint not answering for {now.silent:.0f} s, trying again" if now.silent else "")
        + (f"; {now.waiting}" if now.waiting else "")
    )


def _duration(seconds: float) -> str:
    """As ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def make_reporter(*, quiet: bool) -> Reporter:
    """The reporter that fits where stderr goes."""
    if quiet:
        return Quiet()
    return Live() if sys.stderr.isatty() else Plain()
