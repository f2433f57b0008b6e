# SPDX-License-Identifier: Apache-2.0
"""An endpoint that has answered and no longer does: that is its state, no question's failure."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from image_grounding.asking.limits import Gate
from image_grounding.errors import (
    BusyError,
    EndpointError,
    EndpointTimeoutError,
    OutageError,
    ServerFaultError,
    UnreachableError,
)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
# A Retry-After of a server that starts again is kept up to here.
_LONGEST_ASKED_S = 30.0
_ABSENT = (502, 503, 504)


def is_absence(error: EndpointError) -> bool:
    """Whether an error is one that every request would meet while the endpoint is down."""
    if isinstance(error, ServerFaultError):
        return error.status in _ABSENT
    return isinstance(error, UnreachableError | EndpointTimeoutError)


class Outage:
    """Keeps apart what one question fails with and what all would.

    A question that failed as in an outage waits for a sign: an answer to anything that was sent
    later. Where none comes, one question at a time is tried, in turns. If that fails too, the
    gate is closed, until anything is answered.

    Args:
        longest: seconds without any answer after which the run ends.
        gate: closed while the endpoint is down.
        say: takes messages.

    Attributes:
        turn: held by the question that is being tried.
        down: whether the endpoint is known to be down.
    """

    def __init__(self, longest: float, gate: Gate, say: Callable[[str], None]) -> None:
        self.turn = asyncio.Lock()
        self.down = False
        self._longest = longest
        self._gate = gate
        self._say = say
        self._since: float | None = None
        self._answered_sent = float("-inf")
        self._last_down = float("-inf")
        self._tries = 0
        self._asked = 0.0
        self._sign = asyncio.Event()

    @property
    def seconds(self) -> float:
        """For how long an endpoint that is down has not answered; 0 while it is there."""
        return time.monotonic() - self._since if self.down and self._since else 0.0

    def answered(self, sent: float) -> None:
        """Anything but an absence came back to a request sent at the time ``sent``."""
        if self.down:
            self._say(f"the endpoint answers again, after {self.seconds:.0f} s")
            self.down = False
            self._gate.open()
        self._answered_sent = max(self._answered_sent, sent)
        self._since, self._tries, self._asked = None, 0, 0.0
        self._sign.set()

    def failed(self, error: EndpointError) -> None:
        """A request failed as in an outage."""
        self._since = self._since or time.monotonic()
        asked = error.retry_after if isinstance(error, BusyError) else None
        self._asked = min(asked or 0.0, _LONGEST_ASKED_S)

    def confirm(self, error: EndpointError) -> None:
        """The question whose turn it is failed so, too: nobody asks until there is an answer.

        Raises:
            OutageError: that has been so for too long.
        """
        self._last_down = time.monotonic()
        self._tries += 1
        if not self.down:
            self.down = True
            self._gate.close()
            self._say(
                f"the endpoint does not answer ({error}); all requests wait while one is tried "
                f"again, for up to {self._longest:g} s"
            )
        if self.seconds >= self._longest:
            raise OutageError(
                f"the endpoint has not answered for {self.seconds:.0f} s, which is longer than "
                f"workflow.max_outage: {error}"
            )

    def confirmed_since(self, moment: float) -> bool:
        """Whether the endpoint was down at some time after ``moment``."""
        return self._last_down > moment

    async def sign_since(self, moment: float) -> bool:
        """Wait a while for an answer to a request sent after ``moment``: whether there is one."""
        now = time.monotonic()
        pause = max(min(_FIRST_PAUSE_S * 2**self._tries, _LONGEST_PAUSE_S), self._asked)
        if self._since is not None:
            pause = min(pause, max(self._since + self._longest - now, _FIRST_PAUSE_S))
        while self._answered_sent <= moment and (left := now + pause - time.monotonic()) > 0:
            self._sign.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._sign.wait(), left)
        return self._answered_sent > moment
