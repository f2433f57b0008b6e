# SPDX-License-Identifier: Apache-2.0
"""The one place where requests wait, are sent, counted and tried again."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import tenacity

from image_grounding.endpoints.base import Endpoint, Question, Reply
from image_grounding.endpoints.limits import Bucket, Gate
from image_grounding.endpoints.meter import Meter
from image_grounding.errors import BusyError, EndpointError, RateLimitedError, UnreachableError

# An endpoint that has never answered and cannot be reached is not waited for any longer.
_FIRST_CONTACT_ATTEMPTS = 2


@dataclass(frozen=True)
class RetryPolicy:
    """How long one request is tried: attempts in all, seconds in all, pauses in seconds."""

    attempts: int = 5
    seconds: float = 300.0
    first_pause: float = 0.5
    longest_pause: float = 30.0


class Asker:
    """Asks an endpoint with limits, retries and counting.

    Retries only what is worth it (``EndpointError.transient``), waits for the larger of the
    server's ``Retry-After`` and a jittered growing pause, and gives up rather than start a
    pause that would end after ``policy.seconds``. A pause holds no place in the gate. The
    endpoint is made with the first request, so that a run with nothing to ask needs no key.
    """

    def __init__(
        self,
        make_endpoint: Callable[[], Endpoint],
        gate: Gate,
        policy: RetryPolicy | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        self.meter = Meter()
        self.gate = gate
        self._make_endpoint = make_endpoint
        self._endpoint: Endpoint | None = None
        self._policy = policy or RetryPolicy()
        self._requests = Bucket(requests_per_minute) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute) if tokens_per_minute else None
        self._answered = False

    async def ask(self, question: Question) -> Reply:
        """Ask until there is a reply.

        Raises:
            EndpointError: not worth another attempt, or no attempt left; a note says how many
                were made (``attempts`` on the exception).
        """
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(self._worth_another),
            wait=self._pause,
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self._policy.attempts),
                tenacity.stop_before_delay(self._policy.seconds),
            ),
            before_sleep=self._before_sleep,
            reraise=True,
        )
        attempts = 0
        try:
            async for attempt in retrying:
                attempts += 1
                with attempt:
                    return await self._once(question)
        except EndpointError as error:
            error.attempts = attempts
            raise
        raise AssertionError("tenacity ends with a result or an exception")

    async def _once(self, question: Question) -> Reply:
        if self._requests:
            await self._requests.take(1)
        if self._tokens:
            await self._tokens.take(0)
        async with self.gate.slot():
            self.meter.requests += 1
            if question.image:
                self.meter.uploaded_bytes += len(question.image.data)
            try:
                reply = await self.endpoint().send(question)
            except EndpointError as error:
                self.meter.errors[error.reason] += 1
                raise
        self._answered = True
        self.meter.count(reply)
        if self._tokens:
            self._tokens.spend(reply.usage.input_tokens + reply.usage.output_tokens)
        return reply

    def _worth_another(self, error: BaseException) -> bool:
        if not isinstance(error, EndpointError) or not error.transient:
            return False
        first_contact = isinstance(error, UnreachableError) and not self._answered
        return not first_contact or self.meter.errors[error.reason] < _FIRST_CONTACT_ATTEMPTS

    def _pause(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = (isinstance(error, BusyError) and error.retry_after) or 0.0
        grown: float = self._policy.first_pause * 2 ** (state.attempt_number - 1)
        jittered = min(grown, self._policy.longest_pause) * random.uniform(0.5, 1.0)
        # A little more than asked, so that not everybody comes back in the same instant.
        return max(asked * random.uniform(1.0, 1.1), jittered)

    def _before_sleep(self, state: tenacity.RetryCallState) -> None:
        self.meter.retries += 1
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RateLimitedError) and error.retry_after:
            self.gate.pause(error.retry_after)

    def endpoint(self) -> Endpoint:
        """The endpoint; raises KeyRefusedError where it needs a key and there is none."""
        if self._endpoint is None:
            self._endpoint = self._make_endpoint()
        return self._endpoint

    async def close(self) -> None:
        """Let the endpoint's connections go."""
        if self._endpoint:
            await self._endpoint.close()
