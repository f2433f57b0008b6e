# SPDX-License-Identifier: Apache-2.0
"""The ``openai`` SDK's requests over our kind of session, with bodies that may be large files."""

from collections.abc import AsyncIterator, Sequence
from typing import cast

import aiohttp
import httpx2

from image_grounding.asking.endpoints.answers import only_good
from image_grounding.asking.endpoints.connections import open_session

_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_BLOCK = 2**16


class FileTransport(httpx2.AsyncBaseTransport):
    """Sends and receives block by block; see ``open_session`` for what it raises.

    Args:
        url: of the endpoint.
        secrets: what must be in no text.
    """

    def __init__(self, url: str, secrets: Sequence[str]) -> None:
        self._url = url
        self._secrets = secrets
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """A request's answer, whose body is read as it comes."""
        if self._session is None:
            tls = httpx2.create_ssl_context() if request.url.scheme == "https" else None
            self._session = open_session(self._url, only_good(self._secrets), tls=tls)
        answer = await self._session.request(
            request.method,
            str(request.url.copy_with(userinfo=b"")),
            headers=request.headers,
            data=_blocks(request) if request.method == "POST" else None,
        )
        headers = [
            (name, value)
            for name, value in answer.headers.items()
            if name.lower() not in _OF_THE_WIRE
        ]
        return httpx2.Response(
            answer.status, headers=headers, stream=_Body(answer), request=request
        )

    async def aclose(self) -> None:
        """Let connections go."""
        if self._session:
            await self._session.close()


async def _blocks(request: httpx2.Request) -> AsyncIterator[bytes]:
    async for block in cast(httpx2.AsyncByteStream, request.stream):
        yield block


class _Body(httpx2.AsyncByteStream):
    """The body of an answer, unpacked."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for block in self._answer.content.iter_chunked(_BLOCK):
            yield block

    async def aclose(self) -> None:
        self._answer.release()
