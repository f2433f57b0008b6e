# SPDX-License-Identifier: Apache-2.0
"""Questions go to the queue: into a request file, written down, uploaded, submitted, in this order.

Killed between any two of these, the next run finds out how far it came (``recover``).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from image_grounding.batch.journal import Entry, Job, Journal
from image_grounding.batch.queue import Limits, Queue
from image_grounding.batch.requests import RequestFile, path_of, remove_strays
from image_grounding.errors import BusyError, EndpointError

T = TypeVar("T")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LONGEST_ASKED_S = 0.5, 30.0, 60.0
# A list of jobs may lag behind: for one that is not in it, and so young, it is asked for twice.
_YOUNG_S, _SECOND_LOOK_S = 60.0, 1.0
_GONE = "its request file is gone"


async def patiently(call: Callable[[], Awaitable[T]], attempts: int) -> T:
    """What a call gives, repeated where that is worth it; raises EndpointError."""
    for attempt in range(1, attempts + 1):
        try:
            return await call()
        except EndpointError as error:
            if not error.transient or attempt == attempts:
                raise
            await _pause(error, attempt)
    raise AssertionError(attempts)


async def _pause(error: EndpointError, attempt: int) -> None:
    asked = (isinstance(error, BusyError) and error.retry_after) or 0.0
    grown = min(_FIRST_PAUSE_S * 2.0 ** (attempt - 1), _LONGEST_PAUSE_S)
    await asyncio.sleep(max(min(asked, _LONGEST_ASKED_S), grown * random.uniform(0.5, 1.0)))


class Desk:
    """Where questions are handed in; a full request file becomes a job at once.

    Args:
        journal: what holds what.
        queue: takes the jobs.
        limits: of one job.
        attempts: of each call of the queue.
        submitted: called with each job that was handed over.
    """

    def __init__(
        self,
        journal: Journal,
        queue: Queue,
        limits: Limits,
        attempts: int,
        submitted: Callable[[Job], None],
    ) -> None:
        self._journal = journal
        self._queue = queue
        self._limits = limits
        self._attempts = attempts
        self._submitted = submitted
        self._keys: set[str] = set()
        self._turn = asyncio.Lock()
        self._file = RequestFile(journal.folder, limits)

    def reserve(self, key: str) -> bool:
        """Whether a question is not in the file yet; from now on it counts as there."""
        if key in self._keys:
            return False
        self._keys.add(key)
        return True

    def give_back(self, key: str) -> None:
        """A question that was reserved will not come."""
        self._keys.discard(key)

    async def add(self, entry: Entry, line: bytes) -> None:
        """Put a question that was reserved into the file.

        Raises:
            EndpointError: the file before was full and could not be handed over.
            OutputError: it cannot be written.
        """
        async with self._turn:
            if not self._file.has_room_for(line):
                await self._hand_over()
            self._file.add(entry, line)

    async def close(self) -> None:
        """Hand over what is left; raises as ``add``."""
        async with self._turn:
            if self._file.entries:
                await self._hand_over()

    def discard(self) -> None:
        """Hand nothing more over."""
        self._file.discard()

    async def _hand_over(self) -> None:
        file, self._file = self._file, RequestFile(self._journal.folder, self._limits)
        file.close()
        job = self._journal.intend(file.tag, file.entries)
        self._keys.difference_update(entry.key for entry in file.entries)
        self._submitted(job)
        await hand_over(job, self._journal, self._queue, self._attempts)


async def hand_over(job: Job, journal: Journal, queue: Queue, attempts: int) -> None:
    """Take a job that is written down to the queue.

    Raises:
        EndpointError: it is not known to be there; a later run goes on from where this came to.
            Where the queue refused it, its questions are free.
    """
    path = path_of(journal.folder, job.tag)
    try:
        if (file := job.file) is None:
            file = await patiently(lambda: queue.upload(job.tag, path), attempts)
            journal.uploaded(job.tag, file)
        found = await _submit(job.tag, file, queue, attempts)
    except EndpointError as error:
        if not error.transient:
            journal.release(job.tag, str(error), state="refused")
            path.unlink(missing_ok=True)
        raise
    journal.submitted(job.tag, found)
    queue.served(path)


async def _submit(tag: str, file: str, queue: Queue, attempts: int) -> str:
    """The id of the job that is made of a file, once, whatever happens on the way."""
    for attempt in range(1, attempts + 1):
        try:
            return await queue.submit(tag, file)
        except EndpointError as error:
            if not error.transient:
                raise
            await _pause(error, attempt)
            # It may have been made all the same.
            if found := await patiently(lambda: queue.find(tag, file), attempts):
                return found
            if attempt == attempts:
                raise
    raise AssertionError(attempts)


async def recover(journal: Journal, queue: Queue, attempts: int) -> int:
    """Go on with the jobs that an earlier run did not see to the end of being submitted.

    Returns:
        How many there were.

    Raises:
        EndpointError: as ``hand_over``.
    """
    remove_strays(journal.folder, {job.tag for job in journal.jobs(only_open=True)})
    lost = [job for job in journal.jobs(only_open=True) if job.id is None]
    for job in lost:
        file = job.file
        if file and (found := await _find(job, file, queue, attempts)):
            journal.submitted(job.tag, found)
            queue.served(path_of(journal.folder, job.tag))
        elif file or path_of(journal.folder, job.tag).is_file():
            await hand_over(job, journal, queue, attempts)
        else:
            journal.release(job.tag, _GONE, state="lost")
    return len(lost)


async def _find(job: Job, file: str, queue: Queue, attempts: int) -> str | None:
    found = await patiently(lambda: queue.find(job.tag, file), attempts)
    age = (datetime.now(UTC) - datetime.fromisoformat(job.since)).total_seconds()
    if found is None and age < _YOUNG_S:
        await asyncio.sleep(_SECOND_LOOK_S)
        found = await patiently(lambda: queue.find(job.tag, file), attempts)
    return found
