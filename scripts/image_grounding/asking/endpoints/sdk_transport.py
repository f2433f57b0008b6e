# SPDX-License-Identifier: Apache-2.0
"""The ``openai`` SDK's requests over the same kind of session as those of ``google-genai``."""

from collections.abc import Sequence

import aiohttp
import httpx2

from image_grounding.asking.endpoints.answers import only_good
from image_grounding.asking.endpoints.connections import open_session

# Of the body as it travelled; what is handed on is unpacked and whole.
_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_OF_A_BODY = frozenset({"content-length", "transfer-encoding"})


class Transport(httpx2.AsyncBaseTransport):
    """Sends what the SDK's client builds; its session is made by the first request.

    All our POSTs are of one kind. The SDK would make address and headers anew for each, with
    twice the CPU of sending it: what it made for the first one serves all (``post``).

    Args:
        url: of the endpoint.
        secrets: what must be in no text.
    """

    def __init__(self, url: str, secrets: Sequence[str]) -> None:
        self._url = url
        self._secrets = secrets
        self._session: aiohttp.ClientSession | None = None
        self._first_post: tuple[str, dict[str, str]] | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """A request's answer, read whole; see ``open_session`` for what it raises."""
        if self._session is None:
            tls = httpx2.create_ssl_context() if request.url.scheme == "https" else None
            self._session = open_session(self._url, only_good(self._secrets), tls=tls)
        # The client has made a header of what stands before the host.
        url = str(request.url.copy_with(userinfo=b""))
        if request.method == "POST":
            kept = {
                name: value for name, value in request.headers.items() if name not in _OF_A_BODY
            }
            self._first_post = (url, kept)
        answer = await self._session.request(
            request.method, url, headers=request.headers, data=request.content or None
        )
        body = await answer.read()
        headers = [
            (name, value)
            for name, value in answer.headers.items()
            if name.lower() not in _OF_THE_WIRE
        ]
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

    async def aclose(self) -> None:
        """Let connections go."""
        if self._session:
            await self._session.close()
