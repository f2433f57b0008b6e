# SPDX-License-Identifier: Apache-2.0
"""How a run is going, on stderr: a live line on a terminal, plain lines elsewhere."""

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from image_grounding.terminal import printable

_PLAIN_EVERY_S = 5.0
_LIVE_EVERY_S = 0.25


@dataclass(frozen=True)
class Snapshot:
    """Where a run is: samples, requests, tokens so far; seconds without any answer."""

    total: int
    done: int
    failed: int
    resumed: int
    in_flight: int
    limit: int
    requests: int
    retries: int
    tokens: int
    cost: float | None = None
    silent: float = 0.0


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
        """Print a line every few seconds."""
        rate = _Rate()
        while True:
            await asyncio.sleep(_PLAIN_EVERY_S)
            now = look()
            self.say(_sentence(now, rate.update(now)))


class Live:
    """A bar with figures that stays at the bottom of the terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)

    def say(self, message: str) -> None:
        """Print a message above the bar."""
        self._console.print(escape(printable(message)), highlight=False, soft_wrap=True)

    async def watch(self, look: Callable[[], Snapshot]) -> None:
        """Redraw a few times a second."""
        rate = _Rate()
        columns = (
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            first = look()
            task = progress.add_task("", total=first.total, figures="")
            while True:
                now = look()
                figures = _figures(now, rate.update(now))
                finished = now.done + now.failed
                progress.update(task, total=now.total, completed=finished, figures=figures)
                await asyncio.sleep(_LIVE_EVERY_S)


class _Rate:
    """Samples a second since the first look; finished ones from checkpoints do not count."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def update(self, now: Snapshot) -> float:
        elapsed = time.monotonic() - self._started
        return (now.done + now.failed - now.resumed) / elapsed if elapsed > 0 else 0.0


def _figures(now: Snapshot, rate: float) -> str:
    return (
        f"{now.done} done, {now.failed} failed of {now.total}; in flight {now.in_flight}/"
        f"{now.limit}; {rate:.1f}/s; {now.retries} retries; {now.tokens} tokens"
        + (f"; cost {now.cost:.4g}" if now.cost is not None else "")
        + (f"; endpoint not answering for {now.silent:.0f} s, trying again" if now.silent else "")
    )


def _sentence(now: Snapshot, rate: float) -> str:
    left = now.total - now.done - now.failed
    eta = f"; about {left / rate:.0f} s left" if rate > 0 else ""
    return _figures(now, rate) + eta


def make_reporter(*, quiet: bool) -> Reporter:
    """The reporter that fits where stderr goes."""
    if quiet:
        return Quiet()
    return Live() if sys.stderr.isatty() else Plain()
