# SPDX-License-Identifier: Apache-2.0
"""Samples of one picture on neighbouring lines, whose step 0 shares one request."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby, islice
from typing import TypeVar

from image_grounding.errors import EndpointError, RunEndingError, SampleError
from image_grounding.input.samples import BadLine, Sample
from image_grounding.steps.drive import Carrier
from image_grounding.steps.question import Question, Reply
from image_grounding.steps.together import captions_of, parts_of, question_for

T = TypeVar("T")


def neighbours(
    items: Iterable[T], most: int, item_of: Callable[[T], Sample | BadLine]
) -> Iterator[list[T]]:
    """``items`` in their order, up to ``most`` that follow each other and have one image."""

    def image_of(entry: T) -> str | None:
        item = item_of(entry)
        return item.image if isinstance(item, Sample) else None

    for _, group in groupby(items, image_of):
        while batch := list(islice(group, most)):
            yield batch


class SharedQuestion:
    """Asks once for several samples, and where that does not answer one, for it alone.

    Those that have to ask wait until each of the others has its question here, too, or has left.

    Args:
        carrier: takes the questions to the model.
        ready: awaited before the model is asked.
        samples: how many there are.
    """

    def __init__(
        self, carrier: Carrier, ready: Callable[[], Awaitable[None]], samples: int
    ) -> None:
        self._carrier = carrier
        self._ready = ready
        self._awaited = samples
        self._complete = asyncio.Event()
        self._turn = asyncio.Lock()
        self._questions: list[Question] = []
        self._parts: list[Reply | None] | None = None

    def leave(self) -> None:
        """One sample less is waited for."""
        self._awaited -= 1
        if not self._awaited:
            self._complete.set()

    async def answer(self, question: Question) -> Reply:
        """The reply to one sample's question; see ``Carrier.carry``."""
        place = len(self._questions)
        self._questions.append(question)
        self.leave()
        await self._complete.wait()
        async with self._turn:
            if self._parts is None:
                # Where this raises, the run ends, and those that wait learn it here, too.
                self._parts = await self._ask()
        if part := self._parts[place]:
            return part
        again = replace(question, attempt=2) if len(self._questions) > 1 else question
        return await self.carry_alone(again)

    async def carry_alone(self, question: Question) -> Reply:
        """The reply to a question that nothing else is asked with; see ``Carrier.carry``."""
        await self._ready()
        return await self._carrier.carry(question)

    async def _ask(self) -> list[Reply | None]:
        nothing: list[Reply | None] = [None] * len(self._questions)
        if len(self._questions) == 1:
            return nothing
        try:
            reply = await self.carry_alone(question_for(self._questions))
        except RunEndingError:
            raise
        except (EndpointError, SampleError):
            return nothing
        return parts_of(reply, captions_of(self._questions))


class Seat:
    """One sample's part in a shared question: a carrier of its step 0."""

    def __init__(self, shared: SharedQuestion) -> None:
        self._shared = shared
        self._open = True

    async def carry(self, question: Question) -> Reply:
        """The first time the part of the shared reply; see ``Carrier.carry``."""
        if not self._open:
            return await self._shared.carry_alone(question)
        self._open = False
        return await self._shared.answer(question)

    def leave(self) -> None:
        """It asks nothing, or nothing more."""
        if self._open:
            self._open = False
            self._shared.leave()
