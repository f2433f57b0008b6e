# SPDX-License-Identifier: Apache-2.0
"""Jobs are given up: what they answered before is kept and paid, the rest is free again."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from image_grounding.batch.collecting import Tally, collect
from image_grounding.batch.handing import patiently
from image_grounding.batch.journal import Job, Journal
from image_grounding.batch.making import QueueOptions, make_queue, require_same
from image_grounding.batch.queue import Queue
from image_grounding.batch.requests import path_of
from image_grounding.errors import (
    Exit,
    InputError,
    RejectedRequestError,
    ServerFaultError,
    UnknownModelError,
)
from image_grounding.results.folder import ResultsFolder
from image_grounding.spec import Spec

# A queue may take its time to end what it has begun; the next run collects it then.
_PATIENCE_S, _EVERY_S = 20.0, 1.0


def cancel_jobs(spec: Spec, say: Callable[[str], None], options: QueueOptions) -> dict[str, Any]:
    """Cancel every open job of a results folder, and collect what they have brought.

    Returns:
        A report, fit for JSON, with its exit code.

    Raises:
        EndpointError: the queue cannot be asked.
        InputError: there are no results.
    """
    if not spec.results_dir.is_dir():
        raise InputError(f"no such results: {spec.results_dir}")
    with Journal(spec.results_dir) as journal, ResultsFolder(spec.results_dir).lock():
        require_same(spec, options, journal, "queue", "base_url")
        before = len(journal.jobs(only_open=True))
        asyncio.run(_cancel(spec, journal, say, options))
        left = len(journal.jobs(only_open=True))
        jobs = [job.plain() for job in journal.jobs()]
    say(f"{before} jobs were open; {before - left} have ended, {left} are still being cancelled")
    code = Exit.WAITING if left else Exit.DONE
    return {
        "exit_code": int(code),
        "status": f"cancelling {left} jobs" if left else "cancelled",
        "results_dir": str(spec.results_dir),
        "batch": {"jobs": jobs},
    }


async def _cancel(
    spec: Spec, journal: Journal, say: Callable[[str], None], options: QueueOptions
) -> None:
    queue, attempts = make_queue(spec, options, journal, say), spec.workflow.max_attempts
    try:
        for job in journal.jobs(only_open=True):
            await _give_up(job, journal, queue, attempts)
        for _ in range(round(_PATIENCE_S / _EVERY_S)):
            await collect(journal, queue, attempts, Tally(), say)
            if not journal.jobs(only_open=True):
                break
            await asyncio.sleep(_EVERY_S)
    finally:
        await queue.close()


async def _give_up(job: Job, journal: Journal, queue: Queue, attempts: int) -> None:
    file, found = job.file, job.id
    if file and not found:
        found = await patiently(lambda: queue.find(job.tag, file), attempts)
    path_of(journal.folder, job.tag).unlink(missing_ok=True)
    if found is None:
        journal.release(job.tag, "cancelled before it was submitted", state="cancelled")
        return
    journal.submitted(job.tag, found)
    id_ = found
    try:
        # One that has just ended cannot be cancelled; it is collected.
        with contextlib.suppress(RejectedRequestError, ServerFaultError):
            await patiently(lambda: queue.cancel(id_), attempts)
    except UnknownModelError:
        journal.release(job.tag, "the queue does not know it any more", state="gone")
