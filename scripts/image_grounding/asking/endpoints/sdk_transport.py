# SPDX-License-Identifier: Apache-2.0
"""The ``openai`` SDK's requests over the same kind of session as those of ``google-genai``."""

from collections.abc import Sequence

import aiohttp
import httpx2

from image_grounding.asking.endpoints.answers import only_good
from image_grounding.asking.endpoints.connections import OF_A_BODY, open_session

# Of the body as it travelled; what is handed on is unpacked.
_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class SessionTransport(httpx2.AsyncBaseTransport):
    """A transport over our kind of session, which is made by the first request.

    Args:
        url: of the endpoint.
        secrets: what must be in no text.
    """

    def __init__(self, url: str, secrets: Sequence[str]) -> None:
        self._url = url
        self._secrets = secrets
        self._session: aiohttp.ClientSession | None = None

    def session_for(self, request: httpx2.Request) -> aiohttp.ClientSession:
        """The session that sends a request."""
        if self._session is None:
            tls = httpx2.create_ssl_context() if request.url.scheme == "https" else None
            self._session = open_session(self._url, only_good(self._secrets), tls=tls)
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
    """Sends what the SDK's client builds, and reads answers whole.

    All our POSTs are of one kind. The SDK would make address and headers anew for each, with
    twice the CPU of sending it: what it made for the first one serves all (``post``).
    """

    _first_post: tuple[str, dict[str, str]] | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """A request's answer, read whole; see ``open_session`` for what it raises."""
        url = address_of(request)
        if request.method == "POST":
            kept = {name: value for name, value in request.headers.items() if name not in OF_A_BODY}
            self._first_post = (url, kept)
        answer = await self.session_for(request).request(
            request.method, url, headers=request.headers, data=request.content or None
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
        if self._session is None or self._first_post is None:
            return None
        url, headers = self._first_post
        answer = await self._session.post(url, headers=headers, data=body)
        return await answer.read(), answer.headers.get("content-type", "json")
