# SPDX-License-Identifier: Apache-2.0
"""The teacher whose questions wait in a queue: what was answered is read, the rest is handed in."""

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from image_grounding.asking.endpoints.negotiation import Negotiation, Request, Terms
from image_grounding.asking.meter import cost_of
from image_grounding.batch.collecting import Tally
from image_grounding.batch.handing import Desk, patiently
from image_grounding.batch.journal import Entry, Journal, Known
from image_grounding.batch.pictures import Heads
from image_grounding.batch.queue import Queue
from image_grounding.batch.stored import key_of
from image_grounding.errors import (
    BudgetError,
    EndpointError,
    QueueError,
    RejectedRequestError,
    UnusableEndpointError,
)
from image_grounding.images.encoding import EncodedImage
from image_grounding.images.store import ImageStore
from image_grounding.plain import from_plain, to_plain
from image_grounding.spec import Spec
from image_grounding.steps.drive import ReplyPending
from image_grounding.steps.profile import Profile
from image_grounding.steps.question import Question, Reply
from image_grounding.teachers import Traffic
from image_grounding.teachers.vlm import VlmTeacher

_TERMS, _CONVENTION = "terms", "convention"


class QueueTeacher:
    """See ``Teacher``. Only the box convention is measured at once, by the teacher behind it.

    Args:
        inner: the teacher that asks one request at a time.
        spec: of the run.
        journal: what was asked and answered.
        queue: whom the requests are made for.
        tally: counts what is handed over.
        measures: whether ``inner`` may be asked for the convention.
    """

    def __init__(
        self,
        inner: VlmTeacher,
        spec: Spec,
        journal: Journal,
        queue: Queue,
        tally: Tally,
        *,
        measures: bool,
    ) -> None:
        self.capabilities = inner.capabilities
        self._inner = inner
        self._journal = journal
        self._queue = queue
        self._tally = tally
        self._measures = measures
        self._workflow = spec.workflow
        self._prices = spec.vlm.prices
        # Without a picture to encode, a broken one would pass unseen.
        looks = inner.profile.single_pass or inner.profile.overview is not None
        self.images: ImageStore = Heads() if looks else inner.images
        # None while nothing more is to be handed in.
        self.desk: Desk | None = None

    @property
    def profile(self) -> Profile:
        """See ``Teacher.profile``."""
        return self._inner.profile

    async def carry(self, question: Question) -> Reply:
        """A reply that has come; see ``Carrier.carry``.

        Raises:
            ReplyPending: it has not; the question is with the queue or on its way there.
            QueueError: questions cannot be handed over.
        """
        digest = None
        if question.picture:
            loaded = await self.images.load(question.picture.source, question.picture.transport)
            digest = loaded.fingerprint["sha256"]
        key = key_of(question, digest)
        known = self._journal.look_up(key) or Known()
        if known.reply:
            return known.reply
        if known.held or self.desk is None or not self.desk.reserve(key):
            raise ReplyPending
        try:
            await self._hand_in(self.desk, key, question, known)
        except BaseException:
            self.desk.give_back(key)
            raise
        raise ReplyPending

    async def _hand_in(self, desk: Desk, key: str, question: Question, known: Known) -> None:
        shown, images = question.picture, self._inner.images
        image = await images.load(shown.source, shown.transport) if shown else None
        negotiation = self._inner.endpoint().negotiation
        terms = negotiation.terms
        if known.error:
            terms = self._terms_again(question, image, known.error, known.terms, negotiation)
        self._stay_within_budget()
        request = self._inner.endpoint().request(question, image, terms)
        self._tally.submitted += 1
        try:
            attempts = self._workflow.max_attempts
            line = await patiently(lambda: self._queue.line(key, request, image), attempts)
            await _as_queue_error(desk.add(Entry(key, terms, request.schema), line))
        except RejectedRequestError:  # the queue dislikes this very picture
            self._tally.submitted -= 1
            raise
        except EndpointError as error:
            raise QueueError(str(error), remedy=error.remedy) from None
        self._tally.asked_again += question.attempt > 1
        self._tally.meter.uploaded_bytes += len(image.data) if image else 0

    def _terms_again(
        self,
        question: Question,
        image: EncodedImage | None,
        error: EndpointError,
        before: Terms,
        negotiation: Negotiation,
    ) -> Terms:
        """On which terms a question that failed is worth asking again; raises ``error`` if none.

        A refused parameter is left out for all questions at once: a whole job met it.
        """
        asked = self._inner.endpoint().request(question, image, before)
        left = error.attempts < self._workflow.max_attempts
        if terms := negotiation.concession(error, asked, before) if left else None:
            negotiation.answered(Request(None, frozenset(), 0), terms)
            self._journal.keep(_TERMS, to_plain(Terms, negotiation.terms))
            return replace(negotiation.terms, own_limit=terms.own_limit)
        if left and (error.transient or replace(before, own_limit=None) != negotiation.terms):
            return replace(negotiation.terms, own_limit=before.own_limit)
        raise error

    def _stay_within_budget(self) -> None:
        most = self._workflow.max_requests
        sent = self._inner.traffic().requests + self._tally.submitted
        if most is not None and sent >= most:
            message = f"workflow.max_requests is reached: {sent} requests were sent"
            raise BudgetError(message, limit="max_requests")

    async def prepare(self, *, boxes: bool) -> None:
        """Measure the box convention before the first job; it holds for what comes of it.

        Raises:
            UnusableEndpointError: it is another one than when the jobs were made.
            EndpointError: as ``VlmTeacher.prepare``.
        """
        kept = self._journal.fact(_CONVENTION)
        unknown = self._inner.provenance()["convention"] is None
        if self._measures and (kept is None or unknown):
            await self._inner.prepare(boxes=boxes)
        now = self._inner.profile.convention
        if boxes and kept is not None and kept != now:
            raise UnusableEndpointError(
                f"the batch jobs were made for boxes in {kept}, which are {now} now",
                remedy=f"set vlm.coordinates={kept} to read what they bring, or start in another "
                "results_dir",
            )
        if boxes and kept is None:
            self._journal.keep(_CONVENTION, now)
        self._recall_terms()

    def _recall_terms(self) -> None:
        """What an earlier run learnt of the endpoint's parameters."""
        negotiation = self._inner.endpoint().negotiation
        if (kept := self._journal.fact(_TERMS)) is not None:
            negotiation.answered(Request(None, frozenset(), 0), from_plain(Terms, kept))
        for name in self._journal.schemas_taken():
            taken = Request(None, frozenset({"schema"}), 0, name)
            negotiation.answered(taken, negotiation.terms)

    async def recheck(self) -> bool:
        """Always so: boxes are read days after they were asked for."""
        return True

    async def diagnose(self, error: EndpointError) -> EndpointError:
        """See ``Teacher.diagnose``."""
        return await self._inner.diagnose(error) if self._measures else error

    def provenance(self) -> dict[str, Any]:
        """See ``Teacher.provenance``; that of the same requests sent one by one."""
        return self._inner.provenance()

    def facts(self) -> dict[str, Any]:
        """See ``Teacher.facts``."""
        return self._inner.facts()

    def traffic(self) -> Traffic:
        """See ``Teacher.traffic``: nothing is in flight, and no request waits for another."""
        inner, meter = self._inner.traffic(), self._tally.meter
        return replace(
            inner,
            requests=inner.requests + self._tally.submitted,
            tokens=inner.tokens + meter.input_tokens + meter.output_tokens,
            answered=True,
            cost=_sum(inner.cost, self._cost()),
        )

    def usage(self) -> dict[str, Any]:
        """See ``Teacher.usage``: requests handed over and tokens collected in this run."""
        usage, meter = self._inner.usage(), self._tally.meter
        for name, more in (
            ("requests", self._tally.submitted),
            ("asked_again", self._tally.asked_again),
            ("input_tokens", meter.input_tokens),
            ("output_tokens", meter.output_tokens),
            ("cached_tokens", meter.cached_tokens),
            ("image_bytes", meter.uploaded_bytes),
        ):
            usage[name] += more
        for reason, count in meter.errors.items():
            usage["errors"][reason] = usage["errors"].get(reason, 0) + count
        usage["cost"] = _sum(usage["cost"], self._cost())
        return usage

    def _cost(self) -> float | None:
        """Of what was collected, at the price of the queue."""
        meter, prices = self._tally.meter, self._prices
        whole = cost_of(meter.input_tokens, meter.output_tokens, prices.input, prices.output)
        return None if whole is None else round(whole * self._queue.discount, 6)

    async def close(self) -> None:
        """See ``Teacher.close``."""
        self.images.close()
        await self._inner.close()


async def _as_queue_error(handing: Awaitable[None]) -> None:
    """What a job meets is no question's own failure."""
    try:
        await handing
    except EndpointError as error:
        raise QueueError(str(error), remedy=error.remedy) from None


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else round(one + other, 6)
