# SPDX-License-Identifier: Apache-2.0
"""The ``openai`` SDK's requests over the same kind of session as those of ``google-genai``."""

from collections.abc import Sequence

import aiohttp
import httpx2

from image_grounding.asking.endpoints.answers import only_good
from image_grounding.asking.endpoints.connections import FirstPost, open_session

# Of the body as it travelled; what is handed on is unpacked.
_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class SessionTransport(httpx2.AsyncBaseTransport):
    """A transport over our kind of session, which is made by the first request.

    Args:
        url: of the endpoint.
        secrets: what must be in no text.
        middlewares: what else looks at each request.
    """

    def __init__(
        self, url: str, secrets: Sequence[str], *middlewares: aiohttp.ClientMiddlewareType
    ) -> None:
        self._url = url
        self._middlewares = (only_good(secrets), *middlewares)
        self._session: aiohttp.ClientSession | None = None

    def session_for(self, request: httpx2.Request) -> aiohttp.ClientSession:
        """The session that sends a request."""
        if self._session is None:
            tls = httpx2.create_ssl_context() if request.url.scheme == "https" else None
            self._session = open_session(self._url, *self._middlewares, tls=tls)
        return self._session

    async def aclose(self) -> None:
        """Let connections go."""
        if self._session:
            await self._session.close()


def address_of(request: httpx2.Request) -> str:
    """Where a request goes; the client has made a header of what stands before the host."""
    return str(request.url.copy_with(userinfo=b""))


def headers_of(answer: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    """The headers of an answer whose body is handed on unpacked."""
    return [item for item in answer.headers.items() if item[0].lower() not in _OF_THE_WIRE]


class Transport(SessionTransport):
    """Sends what the SDK's client builds, and later POSTs as the first one; reads answers whole.

    Args:
        url: of the endpoint.
        secrets: what must be in no text.
    """

    def __init__(self, url: str, secrets: Sequence[str]) -> None:
        self._first_post = FirstPost()
        super().__init__(url, secrets, self._first_post)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """A request's answer, read whole; see ``open_session`` for what it raises."""
        answer = await self.session_for(request).request(
            request.method,
            address_of(request),
            headers=request.headers,
            data=request.content or None,
        )
        body = await answer.read()
        headers = headers_of(answer)
        return httpx2.Response(answer.status, headers=headers, content=body, request=request)

    async def post(self, body: bytes) -> tuple[bytes, str] | None:
        """The body of the answer to one more POST, and its content type; None before the first.

        Raises:
            EndpointError: as the session's middleware says.
            aiohttp.ClientError: the connection broke.
        """
        if self._session is None or not self._first_post:
            return None
        answer = await self._first_post.again(self._session, body)
        return await answer.read(), answer.headers.get("content-type", "json")
