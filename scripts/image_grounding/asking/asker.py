# SPDX-License-Identifier: Apache-2.0
"""The one place where requests wait, are sent, counted and repeated."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from image_grounding.asking.budget import Budget
from image_grounding.asking.capacity import Capacity
from image_grounding.asking.endpoints.base import Endpoint
from image_grounding.asking.endpoints.negotiation import Request, Terms
from image_grounding.asking.leases import Leases
from image_grounding.asking.limits import Gate
from image_grounding.asking.meter import Meter
from image_grounding.asking.outage import Outage, is_absence
from image_grounding.asking.rates import make_rate
from image_grounding.errors import (
    BusyError,
    EndpointError,
    EndpointTimeoutError,
    RateLimitedError,
    RequestLostError,
    RunEndingError,
    ServerFaultError,
    UnreachableError,
)
from image_grounding.images.encoding import EncodedImage
from image_grounding.steps.question import Question, Reply

# An endpoint that has never answered and cannot be reached is not waited for any longer.
_FIRST_CONTACT_ATTEMPTS = 2
# In an outage a question is tried so often itself; then a plain one is in its place, so that a
# question that nothing answers is told from an endpoint that answers nothing.
_OWN_TRIES = 2
# A question that was in flight at the begin of so many outages may be what causes them.
_MOST_OUTAGES = 3
_PLAIN = Question("Answer with one word: ready")


@dataclass(frozen=True)
class RetryPolicy:
    """How long one question is tried; seconds run from its first request on.

    Attributes:
        attempts: requests in all, not counting those that negotiate parameters.
        seconds: in all; a pause that would end later is not begun.
        rate_limited_seconds: 429 alone is tried for at least so long, once the endpoint has
            answered anything: a quota of a minute outlasts the attempts.
        first_pause: seconds.
        longest_pause: seconds.
        longest_asked: seconds; where the endpoint has answered others, a ``Retry-After`` beyond is
            no reason to give a question up: it is asked again so much later, and holds nobody back.
    """

    attempts: int = 5
    seconds: float = 300.0
    rate_limited_seconds: float = 180.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    longest_asked: float = 60.0


@dataclass
class _Tried:
    """How one question has been tried so far."""

    terms: Terms
    attempts: int = 0
    outages: int = 0
    first_sent: float | None = None
    queued: float = 0.0

    def seconds(self) -> float:
        """Since the first request was sent, less what was spent waiting for others."""
        return time.monotonic() - self.first_sent - self.queued if self.first_sent else 0.0


class Asker:
    """Asks an endpoint with limits, negotiation, retries and counting.

    A request that is refused for a parameter is repeated without it at once (see
    ``Negotiation``). Other errors are only repeated where it is worth it
    (``EndpointError.transient``), after the larger of the server's ``Retry-After`` and a
    jittered growing pause, which holds no place in the gate. Where an ``outage`` is given, what
    it explains costs no attempt. The endpoint is made with the first request, so that a run with
    nothing to ask needs no key.
    """

    def __init__(
        self,
        make_endpoint: Callable[[], Endpoint],
        gate: Gate,
        policy: RetryPolicy | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        capacity: Capacity | None = None,
        outage: Outage | None = None,
        meter: Meter | None = None,
        budget: Budget | None = None,
        leases: Leases | None = None,
    ) -> None:
        self.meter = meter or Meter()
        self.gate = gate
        self._make_endpoint = make_endpoint
        self._endpoint: Endpoint | None = None
        self._policy = policy or RetryPolicy()
        self._requests = make_rate("requests", requests_per_minute, leases)
        self._tokens = make_rate("tokens", tokens_per_minute, leases)
        self._leases = leases
        self._capacity = capacity
        self.outage = outage
        self.budget = budget

    @property
    def why_no_more(self) -> str:
        """What keeps the limit where it is, where it is looked for."""
        return self._capacity.why if self._capacity else ""

    @property
    def waiting(self) -> str:
        """For what all requests wait before they are sent, and for how long; else empty."""
        return self._leases.waiting if self._leases else ""

    @property
    def answered(self) -> bool:
        """Whether the endpoint has answered anything yet."""
        return bool(self.meter.latencies)

    async def ask(self, question: Question, image: EncodedImage | None = None) -> Reply:
        """Ask, with the picture if there is one, until there is a reply.

        Raises:
            EndpointError: not worth another attempt, or no attempt left; its ``attempts`` says
                how many were made.
        """
        self.meter.asked_again += question.attempt > 1
        tried = self._untried()
        while True:
            tried.attempts += 1
            try:
                return await self._outlast(question, image, tried)
            except EndpointError as error:
                error.attempts = tried.attempts
                pause = self._pause(error, tried.attempts)
                if not self._worth_another(error) or self._is_enough(error, tried, pause):
                    raise
                # Where the limit is looked for, a few are refused while the others are served.
                everybody = self._capacity is None or self._capacity.refuses_all
                asked = error.retry_after if isinstance(error, RateLimitedError) else None
                if asked and asked <= self._policy.longest_asked and everybody:
                    self.gate.pause(asked)
            self.meter.retries += 1
            await asyncio.sleep(pause)

    async def answers(self, question: Question) -> bool:
        """Whether a question is answered at the first attempt."""
        try:
            await self._negotiate(question, None, self._untried())
        except EndpointError:
            return False
        return True

    def _untried(self) -> _Tried:
        return _Tried(self.endpoint().negotiation.terms)

    async def _outlast(
        self, question: Question, image: EncodedImage | None, tried: _Tried
    ) -> Reply:
        """One attempt, outages not counted."""
        while True:
            try:
                return await self._negotiate(question, image, tried)
            except EndpointError as error:
                if not self.outage or not self.answered or not is_absence(error):
                    raise
                failed = time.monotonic()
                # In its place nothing else is sent to an endpoint that may be down.
                with self.gate.held():
                    reply = await self._take_turns(self.outage, question, image, tried)
                tried.queued += time.monotonic() - failed
                if reply:
                    return reply
                # Others were answered meanwhile, so that it is not the endpoint ...
                tried.outages += self.outage.confirmed_since(failed)
                if not self.outage.confirmed_since(failed) or tried.outages >= _MOST_OUTAGES:
                    raise
                # ... or it was: then this was no attempt.

    async def _take_turns(
        self, outage: Outage, question: Question, image: EncodedImage | None, tried: _Tried
    ) -> Reply | None:
        """Wait until the endpoint is there; a reply where it was this question that showed it.

        Raises:
            OutageError: it stayed away for too long.
            EndpointError: it is there, and failed this question otherwise.
        """
        failed, tries = time.monotonic(), 0
        while True:
            async with outage.turn:
                if await outage.sign_since(failed):
                    return None
                own = tries < _OWN_TRIES
                tries += 1
                try:
                    if own:
                        return await self._negotiate(question, image, tried, at_once=True)
                    await self._negotiate(_PLAIN, None, self._untried(), at_once=True)
                except EndpointError as error:
                    if is_absence(error):
                        outage.confirm(error)
                    elif own or isinstance(error, RunEndingError):
                        raise

    async def _negotiate(
        self,
        question: Question,
        image: EncodedImage | None,
        tried: _Tried,
        *,
        at_once: bool = False,
    ) -> Reply:
        """One attempt: repeated at once while the endpoint refuses a part of the request."""
        endpoint = self.endpoint()
        while True:
            request = endpoint.request(question, image, tried.terms)
            try:
                reply = await self._once(request, image, tried, at_once=at_once)
            except RequestLostError:  # no attempt, and no news of the endpoint
                continue
            except EndpointError as error:
                last = tried.attempts >= self._policy.attempts
                terms = endpoint.negotiation.concession(error, request, tried.terms, last=last)
                if terms is None:
                    raise
                tried.terms = terms
            else:
                endpoint.negotiation.answered(request, tried.terms)
                return reply

    async def _once(
        self, request: Request, image: EncodedImage | None, tried: _Tried, *, at_once: bool
    ) -> Reply:
        arrived = time.monotonic()
        reserved, used = 0.0, 0

        async def within_rates() -> None:
            """Last of all, so that a request is sent when its turn is."""
            nonlocal reserved
            if self._requests:
                await self._requests.take(1)
            if self._tokens:
                tokens = self.meter.mean_tokens()
                await self._tokens.take(tokens)
                reserved += tokens

        ready = within_rates if self._requests or self._tokens else None
        try:
            async with self.gate.slot(at_once=at_once, ready=ready):
                sent = time.monotonic()
                tried.queued += sent - arrived if tried.first_sent else 0.0
                tried.first_sent = tried.first_sent or sent
                reply = await self._send(request, image)
            used = reply.usage.input_tokens + reply.usage.output_tokens
            return reply
        finally:
            if self._tokens:
                self._tokens.spend(used - reserved)

    async def _send(self, request: Request, image: EncodedImage | None) -> Reply:
        """Send within the budget."""
        if not self.budget:
            return await self._send_counted(request, image)
        await self.budget.enter()
        reply = None
        try:
            reply = await self._send_counted(request, image)
            return reply
        finally:
            self.budget.leave(reply)

    async def _send_counted(self, request: Request, image: EncodedImage | None) -> Reply:
        self.meter.requests += 1
        if image:
            self.meter.uploaded_bytes += image.length
        at_once = self.gate.in_flight
        sent = time.monotonic()
        try:
            reply = await self.endpoint().send(request)
        except EndpointError as error:
            self.meter.errors[error.reason] += 1
            if self._capacity and not (self.outage and self.outage.down):
                at_once = max(at_once, self.gate.in_flight)
                self.gate.set_limit(self._capacity.failed(error, at_once, sent))
            if self.outage and is_absence(error):
                self.outage.failed(error)
            elif self.outage:
                self.outage.answered(sent)
            raise
        self.meter.count(reply)
        if self._capacity:
            self.gate.set_limit(self._capacity.answered(at_once, sent))
        if self.outage:
            self.outage.answered(sent)
        return reply

    def _worth_another(self, error: EndpointError) -> bool:
        if not error.transient:
            return False
        unheard = isinstance(error, UnreachableError | EndpointTimeoutError)
        first_contact = unheard and not self.answered
        return not first_contact or self.meter.errors[error.reason] < _FIRST_CONTACT_ATTEMPTS

    def _is_enough(self, error: EndpointError, tried: _Tried, pause: float) -> bool:
        spent = tried.seconds() + pause
        if tried.attempts < self._policy.attempts or spent > self._policy.seconds:
            return spent > self._policy.seconds
        patient = isinstance(error, RateLimitedError) and self.answered
        return not patient or spent > self._policy.rate_limited_seconds

    def _pause(self, error: EndpointError, attempts: int) -> float:
        asked = (isinstance(error, BusyError) and error.retry_after) or 0.0
        if isinstance(error, ServerFaultError) and not self.answered:
            asked = 0.0  # a run that cannot begin says so soon
        exponent = min(attempts - 1, 10)
        grown = min(self._policy.first_pause * 2.0**exponent, self._policy.longest_pause)
        if self.answered:
            asked = min(asked, self._policy.longest_asked)
        # A little more than asked, so that not everybody comes back in the same instant.
        return max(asked * random.uniform(1.0, 1.1), grown * random.uniform(0.5, 1.0))

    def endpoint(self) -> Endpoint:
        """The endpoint; raises KeyRefusedError where it needs a key and there is none."""
        if self._endpoint is None:
            self._endpoint = self._make_endpoint()
        return self._endpoint

    def supported(self) -> dict[str, bool]:
        """For each negotiable parameter that was tried, whether the endpoint supports it."""
        endpoint = self.endpoint()
        return endpoint.negotiation.supports(endpoint.parameters)

    async def close(self) -> None:
        """Let the endpoint's connections and the rates go."""
        for rate in (self._requests, self._tokens):
            if rate:
                await rate.close()
        if self._leases:
            await self._leases.close()
        if self._endpoint:
            await self._endpoint.close()
