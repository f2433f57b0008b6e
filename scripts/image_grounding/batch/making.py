# SPDX-License-Identifier: Apache-2.0
"""Which queue a spec means, and what no queue can do."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from image_grounding.addresses import safe_address
from image_grounding.batch.files import FileQueue
from image_grounding.batch.journal import Journal
from image_grounding.batch.queue import Limits, Queue
from image_grounding.errors import SpecError
from image_grounding.spec import Spec
from image_grounding.spec.capabilities import capabilities_of
from image_grounding.spec.secrets import secrets_of
from image_grounding.steps.prompts import SINGLE_PASS_VERSION, VERSION

# The name of what is kept of ``identity_of``.
IDENTITY = "identity"
# OpenAI's, November 2026; the file's limit with some room for what counts as a megabyte.
_OPENAI = Limits(50_000, 190 * 10**6)
# Google's is 2 GB a file and none on requests; results of so many are fetched at once.
_GEMINI = Limits(50_000, 1_900 * 10**6)
# Nobody's but a disk's.
_FILES = Limits(50_000, 2 * 10**9)


@dataclass(frozen=True)
class QueueOptions:
    """How requests are handed over.

    Attributes:
        files: as files for ``vllm run-batch``, in place of a provider's queue.
        job_requests: most requests of a job; None for the queue's own limit.
    """

    files: bool = False
    job_requests: int | None = None

    def within(self, limits: Limits) -> Limits:
        """The limits of a job."""
        most = min(self.job_requests or limits.requests, limits.requests)
        return replace(limits, requests=most)


def require_possible(spec: Spec, options: QueueOptions) -> None:
    """Raise SpecError where a spec asks for what no queue can do."""
    workflow, backend = spec.workflow, spec.vlm.backend
    if not capabilities_of(backend).needs_endpoint:
        raise SpecError(f"backend {backend} asks nobody: it has no batch queue")
    if options.files and backend != "openai":
        raise SpecError(f"vllm run-batch takes no requests of vlm.backend {backend}")
    if workflow.captions_together > 1:
        raise SpecError(
            "workflow.captions_per_request and batch queues exclude each other: which captions "
            "share a request would depend on which replies have come"
        )
    if workflow.max_cost is not None:
        raise SpecError(
            "workflow.max_cost and batch queues exclude each other: what a job costs is known when "
            "it has ended; workflow.max_requests bounds what one run hands over"
        )
    if backend == "openai" and any(secrets_of(spec.vlm.openai.extra_body)):
        raise SpecError(
            "vlm.openai.extra_body holds a secret, which a request file would hold, too; put it "
            "into extra_headers"
        )


def make_queue(
    spec: Spec, options: QueueOptions, journal: Journal, say: Callable[[str], None]
) -> Queue:
    """The queue that a spec means; the SDK in use alone is imported.

    Raises:
        KeyRefusedError: it needs a key and there is none.
    """
    if options.files:
        return FileQueue(journal.folder, spec.vlm.model, _FILES, say)
    if spec.vlm.backend == "gemini":
        from image_grounding.batch.gemini import GeminiQueue

        return GeminiQueue(spec.vlm.gemini, _GEMINI, journal)
    from image_grounding.batch.openai import OpenAIQueue

    return OpenAIQueue(spec.vlm.openai, _OPENAI)


def identity_of(spec: Spec, options: QueueOptions) -> dict[str, Any]:
    """What must stay the same until all jobs are collected and read."""
    return {
        "queue": "batch-files" if options.files else spec.vlm.backend,
        "base_url": safe_address(spec.vlm.base_url),
        "model": spec.vlm.model,
        "prompt_version": SINGLE_PASS_VERSION if spec.workflow.in_single_pass else VERSION,
        "steps": list(spec.workflow.steps),
    }


def require_same(spec: Spec, options: QueueOptions, journal: Journal, *names: str) -> None:
    """See that the jobs under way are those of this spec.

    Args:
        spec: of the run.
        options: which queue.
        journal: of the results folder.
        names: of the identity, what must agree; all of it where none is named.

    Raises:
        SpecError: they are another one's.
    """
    kept, now = journal.fact(IDENTITY), identity_of(spec, options)
    if kept is None or not journal.is_bound():
        return
    differ = [name for name in names or now if kept.get(name) != now[name]]
    if differ:
        listed = ", ".join(f"{name} {kept.get(name)!r}, not {now[name]!r}" for name in differ)
        raise SpecError(
            f"batch jobs of another spec are under way in {spec.results_dir}: {listed}; "
            "finish them with that spec, or take another results_dir"
        )
