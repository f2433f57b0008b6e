# SPDX-License-Identifier: Apache-2.0
"""Every error that a user can cause or meet, with the exit code it ends a script with."""

from collections.abc import Mapping
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of all scripts."""

    DONE = 0
    BUG = 1
    USAGE = 2
    SOME_FAILED = 3
    ENDPOINT = 4
    WAITING = 5
    INTERRUPTED = 130


class ImageGroundingError(Exception):
    """Base of all errors raised on purpose; its text is fit to show to a user."""

    exit_code = Exit.USAGE


class SpecError(ImageGroundingError):
    """The spec, or an override of it, cannot be used."""


class InputError(ImageGroundingError):
    """The input as a whole cannot be used."""


class InputChangedError(InputError):
    """The input is another one than when it was first read."""

    reason = "input_changed"
    remedy = (
        "what is finished is kept: the same command again goes on with what the input holds then"
    )


class StoreError(ImageGroundingError):
    """A store or a web server does not give what is at an address, for now or to us.

    Args:
        message: what happened, for a person.
        refused: it does not let us in.
    """

    remedy = "look at the store and its credentials; the same command goes on"

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class OutputError(ImageGroundingError):
    """Results cannot be written (no space, no permission, another run at work)."""


class SampleError(ImageGroundingError):
    """One sample cannot be done; the others go on.

    Args:
        reason: a short stable name, written to ``failures.jsonl`` (``image_missing``).
        message: what happened, for a person.
        excerpt: the start of the model's reply, where there was one.
        attempts: how often a model was asked.
        dropped: boxes of the reply that could not be used, by reason.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        excerpt: str | None = None,
        attempts: int = 0,
        dropped: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.excerpt = excerpt
        self.attempts = attempts
        self.dropped = dropped or {}


class EndpointError(ImageGroundingError):
    """A request to the endpoint failed.

    Class attributes say what follows: ``transient`` errors are worth another attempt;
    ``fatal`` ones would meet every sample alike, so that they end the run; ``remedy`` says
    what a user can do.

    Args:
        message: what happened, for a person.
        status: the HTTP status, where there was an answer.
        remedy: in place of the class's own.
        server_text: the server's own words, scrubbed.
    """

    exit_code = Exit.ENDPOINT
    reason = "endpoint_error"
    transient = False
    fatal = False
    excerpt: str | None = None
    remedy = "run check_endpoint.py with the same spec: it says what works and what does not"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        remedy: str | None = None,
        server_text: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.server_text = server_text
        self.attempts = 1
        self.remedy = remedy or self.remedy


class UnreachableError(EndpointError):
    """No connection: no such host, refused, TLS, dropped before an answer."""

    reason = "unreachable"
    transient = True
    remedy = (
        "check host and port in base_url and that the server has been started; a server that "
        "still loads its weights listens only afterwards"
    )


class KeyRefusedError(EndpointError):
    """401 or 403: the key is missing, wrong, or has no access."""

    reason = "key_refused"
    fatal = True
    remedy = (
        "put a valid key with access to this model into the environment variable that the spec "
        "names (gemini: GOOGLE_API_KEY, NVIDIA: NVIDIA_API_KEY)"
    )


class UnknownModelError(EndpointError):
    """The endpoint does not serve this model, or the path does not exist."""

    reason = "unknown_model"
    fatal = True
    remedy = "check the model's name and that base_url ends in /v1, once"


class UnusableEndpointError(EndpointError):
    """The endpoint answers, but cannot do this work."""

    reason = "endpoint_unusable"
    fatal = True


class LoadingError(UnusableEndpointError):
    """The server is up, its model is not yet."""

    remedy = "wait until the weights are loaded: check_endpoint.py --wait 600 looks until then"


class RunEndingError(EndpointError):
    """Ends a run in good order: no sample failed of it, and the next run goes on."""

    fatal = True


class OutageError(RunEndingError):
    """The endpoint had answered, and then did not for longer than the run waits."""

    reason = "outage"
    remedy = (
        "what is finished is kept and no sample failed of it: bring the endpoint up, then start "
        "the same command again; workflow.max_outage is how long a run waits"
    )


class StoreUnusableError(RunEndingError):
    """Where the pictures are does not give them: the endpoint has no part in it."""

    reason = "store_unusable"
    remedy = (
        "look at the address, at the store and at the credentials in its own environment variables "
        "(AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and so on); the same command goes on"
    )


class ClusterError(RunEndingError):
    """There are no workers of Ray to do the work."""

    reason = "ray"
    remedy = (
        "look at the cluster with ray status; what is finished is kept: the same command goes on, "
        "and so does one without --engine ray"
    )


class RequestLostError(ImageGroundingError):
    """Who was to send a request is gone, and whether it was sent is unknown: send it again."""


class QueueError(RunEndingError):
    """Questions could not be handed over to a batch queue."""

    reason = "batch_queue"


class BudgetError(RunEndingError):
    """The run has taken what it may.

    Args:
        message: what it has taken, for a person.
        limit: the key of ``workflow`` that says how much it may.
    """

    exit_code = Exit.SOME_FAILED
    remedy = (
        "what is finished is kept: the same command again goes on, and counts from nothing; "
        "raise the limit or set it to null to go on further"
    )

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.reason = limit


class SharedLimitError(RunEndingError):
    """The file or the server of ``workflow.shared_limit`` gives no leases."""

    exit_code = Exit.USAGE
    reason = "shared_limit"
    remedy = (
        "give all runs that share a quota the same limits and the same shared_limit, a file that "
        "all of them can write or a server that all reach; what is finished is kept: the same "
        "command again goes on"
    )


class RejectedRequestError(EndpointError):
    """A 4xx for this very request (too long, bad image, a parameter it does not take)."""

    reason = "rejected_request"
    remedy = "the server's own words say why; its log or documentation says more"


class BusyError(EndpointError):
    """The endpoint asks to come back; ``retry_after`` in seconds where it says when."""

    transient = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        remedy: str | None = None,
        server_text: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, remedy=remedy, server_text=server_text)
        self.retry_after = retry_after


class RateLimitedError(BusyError):
    """429."""

    reason = "rate_limited"
    remedy = (
        "wait a minute and start again; if it comes back, lower workflow.max_workers, set "
        "workflow.requests_per_minute, or raise your quota"
    )


class ServerFaultError(BusyError):
    """5xx, or a 200 that is no answer (HTML, an empty body, no choices)."""

    reason = "server_fault"
    remedy = "look at the server's own log; the same run can simply be started again"


class EndpointTimeoutError(EndpointError):
    """No answer within the configured seconds."""

    reason = "timeout"
    transient = True
    remedy = "raise vlm.*.timeout, or lower workflow.max_workers so that requests wait less"


class JobEndedError(EndpointError):
    """A batch job ended, or expired, before it answered a request."""

    reason = "job_ended"
    transient = True
    remedy = (
        "the same command asks again; where it comes back, the queue is too busy for so large "
        "jobs: --job-requests makes them smaller"
    )


class BlockedError(EndpointError):
    """The provider's safety filter refused this prompt or its answer."""

    reason = "blocked"
    remedy = "leave this sample out, or ask another provider"
