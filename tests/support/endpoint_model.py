# SPDX-License-Identifier: Apache-2.0
"""An endpoint and its client on a clock of their own: what ``Capacity`` does, without waiting."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Self

from image_grounding.asking.capacity import Capacity
from image_grounding.errors import EndpointTimeoutError, RateLimitedError


@dataclass
class Simulation:
    """A client that always has something to ask, and an endpoint that serves so many at once.

    Attributes:
        serves: requests at once, at a time in seconds.
        queues: whether those beyond wait their turn; else they are refused.
        latency: seconds of an answer, and ``jitter`` the share that they vary by.
        slow: the share of answers that take ten times as long.
        refusal: seconds of a refusal.
        retry_after: seconds that a refusal asks to wait for.
        patience: seconds after which the client gives a request up; one that still waits its
            turn is not served then.
    """

    serves: Callable[[float], int]
    queues: bool = False
    latency: float = 0.2
    jitter: float = 0.1
    slow: float = 0.0
    refusal: float = 0.005
    retry_after: float = 0.0
    patience: float | None = None
    seed: int = 1
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    limits: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.now = 0.0
        self.capacity = Capacity(clock=lambda: self.now)
        self._random = random.Random(self.seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._in_flight = self._serving = self._number = 0
        self._queue: deque[_Request] = deque()
        self._paused_until = 0.0

    def run(self, seconds: float) -> Self:
        """Ask for so long."""
        end = self.now + seconds
        self._fill()
        while self._events and self._events[0][0] < end:
            self.now, _, event = heappop(self._events)
            event()
            if not self.limits or self.limits[-1][1] != self.capacity.limit:
                self.limits.append((self.now, self.capacity.limit))
            self._fill()
        self.now = end
        return self

    def share(self, begin: float, end: float) -> float:
        """Of the answers that the endpoint could have given in a time."""
        served = sum(begin <= at < end for at in self.answered)
        could = sum(self.serves(begin + (end - begin) * n / 1000) for n in range(1000)) / 1000
        return served * self.mean_latency / could / (end - begin)

    @property
    def mean_latency(self) -> float:
        """Seconds of an answer, the slow ones included."""
        return self.latency * (1 + 9 * self.slow)

    @property
    def refused_share(self) -> float:
        """Of all requests."""
        return len(self.refused) / (len(self.refused) + len(self.answered))

    def most(self, begin: float = 0.0) -> int:
        """The highest limit since a time."""
        before = [limit for at, limit in self.limits if at < begin][-1:]
        return max(before + [limit for at, limit in self.limits if at >= begin])

    def _at(self, seconds: float, event: Callable[[], None]) -> None:
        self._number += 1
        heappush(self._events, (self.now + seconds, self._number, event))

    def _fill(self) -> None:
        while self._in_flight < self.capacity.limit and self.now >= self._paused_until:
            self._in_flight += 1
            self._send(_Request(self._in_flight, self.now))

    def _send(self, request: "_Request") -> None:
        if self.patience:
            self._at(self.patience, lambda: self._give_up(request))
        if self._serving < self.serves(self.now):
            self._serve(request)
        elif self.queues:
            self._queue.append(request)
        else:
            self._at(self.refusal, lambda: self._refuse(request))

    def _serve(self, request: "_Request") -> None:
        self._serving += 1
        seconds = self.latency * self._random.uniform(1 - self.jitter, 1 + self.jitter)
        if self._random.random() < self.slow:
            seconds *= 10
        self._at(seconds, lambda: self._answer(request))

    def _answer(self, request: "_Request") -> None:
        self._serving -= 1
        while self._queue and self._serving < self.serves(self.now):
            if not (waiting := self._queue.popleft()).over:
                self._serve(waiting)
        if not request.over:
            self.answered.append(self.now)
            self.capacity.answered(request.at_once, request.sent)
            self._end(request)

    def _refuse(self, request: "_Request") -> None:
        self.refused.append(self.now)
        at_once = max(request.at_once, self._in_flight)
        self.capacity.failed(RateLimitedError("429"), at_once, request.sent)
        if self.retry_after and self.capacity.refuses_all:
            self._paused_until = self.now + self.retry_after
            self._at(self.retry_after, lambda: None)
        self._end(request)

    def _give_up(self, request: "_Request") -> None:
        if not request.over:
            at_once = max(request.at_once, self._in_flight)
            self.capacity.failed(EndpointTimeoutError("late"), at_once, request.sent)
            self._end(request)

    def _end(self, request: "_Request") -> None:
        request.over = True
        self._in_flight -= 1


@dataclass
class _Request:
    at_once: int
    sent: float
    over: bool = False
