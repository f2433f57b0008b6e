# SPDX-License-Identifier: Apache-2.0
"""What every batch queue is: request lines go in as a file, result lines come out by their id."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from image_grounding.asking.endpoints.negotiation import Request
from image_grounding.errors import EndpointError
from image_grounding.images.encoding import EncodedImage
from image_grounding.steps.question import Reply


@dataclass(frozen=True)
class Limits:
    """What one job of a queue may hold: requests, and bytes of its request file."""

    requests: int
    bytes: int


@dataclass(frozen=True)
class JobState:
    """How a job is doing.

    Attributes:
        word: the queue's own word for it.
        ended: nothing more will come.
        done: requests that were answered so far.
        failed: requests that failed so far; where both are 0, they are counted when collected.
        refused: why the queue took none of its requests; empty where it took them.
        found: results that can be fetched before it has ended, where a queue gives parts.
    """

    word: str
    ended: bool = False
    done: int = 0
    failed: int = 0
    refused: str = ""
    found: int = 0


@dataclass(frozen=True)
class Result:
    """A result line: which question it is of, and what came of it."""

    key: str
    outcome: Reply | EndpointError


class Queue(Protocol):
    """A provider's batch queue. No call repeats itself.

    Attributes:
        name: what a person calls it.
        limits: of one job.
        discount: what its tokens cost, as a share of the price of single requests.
        gives_parts: results can be fetched before a job has ended.
    """

    name: str
    limits: Limits
    discount: float
    gives_parts: bool

    async def line(self, key: str, request: Request, image: EncodedImage | None) -> bytes:
        """The line of a request file, with its line break; it may upload the picture.

        Raises:
            EndpointError: the picture cannot be uploaded.
        """
        ...

    async def upload(self, tag: str, path: Path) -> str:
        """Hand a request file over; what the queue calls it. Nothing is asked yet.

        Raises:
            EndpointError: it cannot be handed over.
        """
        ...

    async def submit(self, tag: str, file: str) -> str:
        """Make a job of an uploaded file, marked with ``tag``; its id.

        Raises:
            EndpointError: there may be a job all the same, see ``find``.
        """
        ...

    async def find(self, tag: str, file: str) -> str | None:
        """The id of the job that is marked with ``tag`` or made of ``file``; None if there is none.

        Raises:
            EndpointError: the queue cannot be asked.
        """
        ...

    async def poll(self, job: str) -> JobState:
        """How a job is doing.

        Raises:
            EndpointError: the queue cannot be asked.
        """
        ...

    async def fetch(self, job: str, tag: str, folder: Path) -> Sequence[Path]:
        """Bring the result files of a job into ``folder``; there may be none.

        Raises:
            EndpointError: they cannot be fetched whole.
        """
        ...

    def read(self, path: Path) -> Iterator[Result]:
        """The result lines in a file, in any order, maybe repeated; what is none is left out."""
        ...

    async def cancel(self, job: str) -> None:
        """Ask for no more answers; what was answered stays.

        Raises:
            EndpointError: the queue cannot be asked.
        """
        ...

    def served(self, path: Path) -> None:
        """A local request file is with the queue: it is not needed here any more."""
        ...

    async def tidy(self, file: str) -> None:
        """Remove an uploaded request file that has served, where that can be done."""
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...
