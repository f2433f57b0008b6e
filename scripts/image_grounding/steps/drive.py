# SPDX-License-Identifier: Apache-2.0
"""The one place where questions are carried and replies are read, until there is a result."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from image_grounding.errors import SampleError
from image_grounding.steps.question import Ask, Failure, Question, Reply

R = TypeVar("R")


class ReplyPending(Exception):
    """The question waits elsewhere for its reply; a later run reads it."""


class Carrier(Protocol):
    """Takes questions to a model."""

    async def carry(self, question: Question) -> Reply:
        """The model's reply.

        Raises:
            SampleError: the picture cannot be used.
            EndpointError: the endpoint failed.
            ReplyPending: it comes in a later run.
        """
        ...


class Replay:
    """Carries kept replies in their order, and what comes behind them to a model.

    Args:
        replies: the kept ones.
        carrier: for questions beyond them.
        ready: awaited before the model is asked.
    """

    def __init__(
        self, replies: Sequence[Reply], carrier: Carrier, ready: Callable[[], Awaitable[None]]
    ) -> None:
        self._left = list(replies)
        self._carrier = carrier
        self._ready = ready

    async def carry(self, question: Question) -> Reply:
        """The next reply; see ``Carrier.carry``."""
        if self._left:
            return self._left.pop(0)
        await self._ready()
        return await self._carrier.carry(question)


@dataclass(frozen=True)
class Driven(Generic[R]):
    """A result, and the replies that it was read from."""

    result: R
    replies: tuple[Reply, ...] = ()


async def drive(
    move: Ask[Any] | R,
    read: Callable[[Ask[Any], Sequence[Reply]], R | Ask[Any] | Failure],
    carrier: Carrier,
) -> Driven[R]:
    """Carry questions and read their replies until there is a result.

    Args:
        move: the first questions, or the result where there is nothing to ask.
        read: what replies mean; it bounds how often is asked.
        carrier: what takes a question to the model.

    Raises:
        SampleError: there is no result.
        EndpointError: the endpoint failed.
    """
    replies: tuple[Reply, ...] = ()
    current: Ask[Any] | R | Failure = move
    while isinstance(current, Ask):
        if len(current.questions) == 1:  # as nearly always; a task of its own takes time
            new = [await carrier.carry(current.questions[0])]
        else:
            new = await asyncio.gather(*map(carrier.carry, current.questions))
        replies += tuple(new)
        current = read(current, new)
    if isinstance(current, Failure):
        raise SampleError(
            current.reason, current.message, current.excerpt, current.attempts, current.dropped
        )
    return Driven(current, replies)
