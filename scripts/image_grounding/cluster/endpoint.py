# SPDX-License-Identifier: Apache-2.0
"""An endpoint whose requests are made and sent by workers."""

from dataclasses import dataclass, replace

from image_grounding.asking import Endpoint
from image_grounding.asking.endpoints.negotiation import Request, Terms
from image_grounding.cluster.pool import Pool
from image_grounding.images.encoding import EncodedImage
from image_grounding.steps.question import Question, Reply


@dataclass(frozen=True)
class _Errand:
    """A question for a worker, which makes the request of it."""

    question: Question
    terms: Terms


class RemoteEndpoint:
    """See ``Endpoint``. A picture that is in no file is sent from here.

    Args:
        inner: the endpoint in this process.
        pool: the workers.
    """

    def __init__(self, inner: Endpoint, pool: Pool) -> None:
        self.negotiation = inner.negotiation
        self.parameters = inner.parameters
        self._inner = inner
        self._pool = pool

    def request(self, question: Question, image: EncodedImage | None, terms: Terms) -> Request:
        """See ``Endpoint.request``: what is in the request, and the question in place of a body."""
        request = self._inner.request(question, image, terms)
        if image and not image.held_elsewhere:
            return request
        return replace(request, body=_Errand(question, terms))

    async def send(self, request: Request) -> Reply:
        """See ``Endpoint.send``.

        Raises:
            ClusterError: there are no workers.
            RequestLostError: the worker ended before it answered.
            SampleError: the picture cannot be read any more, or ends the workers.
        """
        if not isinstance(request.body, _Errand):
            return await self._inner.send(request)
        question = request.body.question
        source = question.picture.source if question.picture else ""
        reply: Reply = await self._pool.call("send", source, question, request.body.terms)
        return reply

    async def models(self) -> list[str]:
        """See ``Endpoint.models``."""
        return await self._inner.models()

    async def close(self) -> None:
        """See ``Endpoint.close``."""
        await self._inner.close()
