# SPDX-License-Identifier: Apache-2.0
"""The workers of a run: which of them does what, and what becomes of it when one ends."""

import asyncio
import contextlib
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from image_grounding.cluster.connection import Connection, WorkerBrokenError, WorkerGoneError
from image_grounding.cluster.trouble import Trouble, as_error
from image_grounding.errors import ClusterError, RequestLostError, SampleError
from image_grounding.run.breaker import WORKER_LOST

# A picture that was with so many workers as they ended has to wait for a turn of its own.
_SUSPECT = 2
_PAUSE_S = 0.5


@dataclass(eq=False)
class _Place:
    """One worker, and those that Ray starts in its place: ``life`` counts them."""

    actor: Any
    ready: bool = False
    life: int = 0


class Pool:
    """Gives calls to the workers that are there.

    All that is about one picture goes to the same worker as long as it lives, which has it
    encoded. What a worker held when it ended is for the caller to send again: that costs nobody
    an attempt.

    Args:
        connection: to the cluster; opened by the first call.
        settings: what each worker begins with, pickled.
        wait_s: for so many seconds there may be no worker at all.
        say: takes messages.
    """

    def __init__(
        self,
        connection: Connection,
        settings: bytes,
        wait_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._wait_s = wait_s
        self._say = say
        self._lost = 0
        self._resent = 0
        self._opening: asyncio.Task[None] | None = None
        self._places: list[_Place] = []
        self._none_since = 0.0
        self._news = asyncio.Event()
        self._problem: ClusterError | None = None
        self._reviving: set[asyncio.Task[None]] = set()
        self._deaths: Counter[str] = Counter()
        self._alone = asyncio.Lock()

    async def call(self, method: str, source: str, *arguments: Any) -> Any:
        """What a worker answers.

        Args:
            method: of ``Worker``.
            source: the picture that it is about; or empty.
            arguments: of the method.

        Raises:
            ClusterError: there is no worker.
            RequestLostError: it ended before it answered.
            SampleError: the workers end over this picture.
            Exception: what the method failed with.
        """
        alone = self._deaths[source] >= _SUSPECT
        async with self._alone if alone else contextlib.nullcontext():
            place = await self._place_for(source or repr(arguments[0]), sure=alone)
            life = place.life
            try:
                answer = await self._connection.call(place.actor, method, *arguments)
            except WorkerGoneError:
                self._gone(place, life)
                self._blame(source, alone=alone)
                raise RequestLostError from None
        if answer is None:  # a new one, which does not know its work yet
            self._gone(place, life)
            raise RequestLostError
        self._deaths.pop(source, None)
        if isinstance(answer, Trouble):
            raise as_error(answer)
        return answer

    def _blame(self, source: str, *, alone: bool) -> None:
        """Many were with a worker that ended; only one that was alone with it may have done it."""
        self._resent += 1
        if alone:
            del self._deaths[source]
            raise SampleError(
                WORKER_LOST,
                f"workers of Ray end, one after another, over the image {source}: out of memory?",
            )
        if source:
            self._deaths[source] += 1

    # -- who is there ----------------------------------------------------------------------------

    async def _place_for(self, key: str, *, sure: bool) -> _Place:
        """A worker that is there, as far as is known; or that it is ``sure`` of."""
        while True:
            place = await self._known_place_for(key)
            if not sure:
                return place
            life = place.life
            try:
                await self._connection.begin(place.actor, self._settings)
                return place
            except (WorkerGoneError, WorkerBrokenError):
                self._gone(place, life)

    async def _known_place_for(self, key: str) -> _Place:
        if not self._places:
            await self._opened()
        while (place := self._choose(key)) is None:
            if self._problem:
                raise self._problem
            left = self._none_since + self._wait_s - time.monotonic()
            if left <= 0:
                raise ClusterError(
                    f"no worker of Ray has been there for {self._wait_s:g} s "
                    f"({len(self._places)} were asked for)"
                )
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left)
        return place

    def _choose(self, key: str) -> _Place | None:
        """The worker of a key, or the next one that is there."""
        count = len(self._places)
        first = zlib.crc32(key.encode(errors="replace"))
        places = (self._places[(first + step) % count] for step in range(count))
        return next((place for place in places if place.ready), None)

    async def _opened(self) -> None:
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        actors = await self._connection.open()
        self._places = [_Place(actor) for actor in actors]
        self._none_since = time.monotonic()
        for place in self._places:
            self._revive(place)

    def _gone(self, place: _Place, life: int) -> None:
        """A worker has ended; everybody who waited for it comes by here."""
        if place.ready and place.life == life:
            self._lost += 1
            place.ready = False
            self._say("a worker of Ray ended; what it held is sent again")
            if not any(other.ready for other in self._places):
                self._none_since = time.monotonic()
            self._revive(place)

    def _revive(self, place: _Place) -> None:
        task = asyncio.create_task(self._begin(place))
        self._reviving.add(task)
        task.add_done_callback(self._reviving.discard)

    async def _begin(self, place: _Place) -> None:
        """Tell a worker its work, as soon as there is one."""
        while not place.ready:
            try:
                await self._connection.begin(place.actor, self._settings)
            except WorkerGoneError:
                await asyncio.sleep(_PAUSE_S)
            except WorkerBrokenError as error:
                self._problem = ClusterError(f"the workers of Ray cannot start: {error}")
                break
            else:
                place.ready, self._problem = True, None
                place.life += 1
        self._news.set()

    def facts(self) -> dict[str, Any]:
        """For the summary: workers, how many ended, and calls that were under way with these."""
        return {"workers": len(self._places), "lost": self._lost, "resent": self._resent}

    async def close(self) -> None:
        """Let the workers go."""
        for task in (self._opening, *self._reviving):
            if task:
                task.cancel()
        await self._connection.close()
