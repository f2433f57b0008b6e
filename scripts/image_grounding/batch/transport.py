# SPDX-License-Identifier: Apache-2.0
"""The ``openai`` SDK's requests over our kind of session, with bodies that may be large files."""

from collections.abc import AsyncIterator
from typing import cast

import aiohttp
import httpx2

from image_grounding.asking.endpoints.sdk_transport import (
    SessionTransport,
    address_of,
    headers_of,
)

_BLOCK = 2**16


class FileTransport(SessionTransport):
    """Sends and receives block by block; see ``open_session`` for what it raises."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """A request's answer, whose body is read as it comes."""
        answer = await self.session_for(request).request(
            request.method,
            address_of(request),
            headers=request.headers,
            data=_blocks(request) if request.method == "POST" else None,
        )
        return httpx2.Response(
            answer.status, headers=headers_of(answer), stream=_Body(answer), request=request
        )


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
