# SPDX-License-Identifier: Apache-2.0
"""How both SDKs reach an endpoint: a session, its proxy, and what breaks on the way."""

import asyncio
import contextlib
import errno
import ssl
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http_exceptions import (
    BadStatusLine,
    ContentEncodingError,
    ContentLengthError,
    HttpProcessingError,
    TransferEncodingError,
)

from image_grounding.asking.endpoints.answers import BoundedAnswer
from image_grounding.asking.endpoints.errors import network_error, safe_address
from image_grounding.errors import (
    EndpointError,
    EndpointTimeoutError,
    ServerFaultError,
    UnreachableError,
    UnusableEndpointError,
)

# An idle connection is let go before servers close theirs (uvicorn after 5 s).
_KEEP_ALIVE_S = 5.0
# Headers that go with one body.
_OF_A_BODY = frozenset({"content-length", "transfer-encoding"})
_REMEDY_PROXY = (
    "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names it: mend it there, or name the endpoint's host in "
    "NO_PROXY if it is reached without one"
)


def open_session(
    url: str, *middlewares: aiohttp.ClientMiddlewareType, tls: ssl.SSLContext | None = None
) -> aiohttp.ClientSession:
    """A session for the host of ``url``, through its proxy; call it in the event loop.

    Its answers are of bounded length. No limit of connections: the gate bounds what is in flight.
    No time limit: ``calling`` sets it. No ``.netrc``, whose passwords are for other programs.

    Args:
        url: of the endpoint.
        middlewares: what looks at each answer, such as ``only_good``.
        tls: whom to trust; else whom aiohttp does, or what each request brings.
    """
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S, ssl=tls or True)
    return aiohttp.ClientSession(
        connector=connector,
        proxy=proxy_of(url),
        timeout=aiohttp.ClientTimeout(total=None),
        response_class=BoundedAnswer,
        middlewares=middlewares,
    )


class FirstPost:
    """A session's middleware that keeps how an SDK sent its first POST, and sends others alike.

    All our POSTs are of one kind. An SDK would make address and headers anew for each, with at
    least twice the CPU of sending it.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def __bool__(self) -> bool:
        """Whether there has been one."""
        return bool(self._kept)

    async def __call__(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Look at a request, and let it pass."""
        if not self and request.method == "POST":
            headers = {k: v for k, v in request.headers.items() if k.lower() not in _OF_A_BODY}
            self._kept = {"url": request.url, "headers": headers, "ssl": request.ssl}
        return await send(request)

    async def again(self, session: aiohttp.ClientSession, body: bytes) -> aiohttp.ClientResponse:
        """The answer to one more; see ``open_session`` for what it raises."""
        return await session.post(**self._kept, data=body)


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for ``url``.

    Raises:
        UnusableEndpointError: it is no HTTP proxy.
    """
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    with contextlib.suppress(ValueError):
        named = urlsplit(proxy)
        if named.scheme in ("http", "https") and named.hostname and named.port != 0:
            return proxy
    message = f"the proxy {safe_address(proxy)} is none that speaks HTTP"
    raise UnusableEndpointError(message, remedy=_REMEDY_PROXY)


@contextlib.asynccontextmanager
async def calling(url: str, seconds: float) -> AsyncIterator[None]:
    """A call of an endpoint, all of it within ``seconds``; what breaks on the way as our errors."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except Exception as error:
        if found := broken_call(error, url, seconds):
            raise found from None
        raise


def broken_call(error: BaseException, url: str, seconds: float) -> EndpointError | None:
    """What broke a call, whatever an SDK wrapped it into; None for all that is no connection's."""
    address = safe_address(url)
    for cause in _causes(error):
        match cause:
            case EndpointError():
                return cause
            case aiohttp.ClientHttpProxyError():
                message = f"the proxy {_proxy(url)} does not connect to {address}"
                message += f" (HTTP {cause.status})"
                return UnreachableError(message, remedy=_REMEDY_PROXY)
            case aiohttp.ClientProxyConnectionError():
                found = network_error(_plain(cause), f"the proxy {_proxy(url)}")
                found.remedy = _REMEDY_PROXY
                return found
            case TimeoutError():
                message = f"no answer from {address} within {seconds:g} s"
                return EndpointTimeoutError(message)
            case aiohttp.ClientConnectorError():
                return network_error(_plain(cause), address)
            case aiohttp.ClientError() if fault := _unreadable(cause):
                return ServerFaultError(f"the endpoint's answer cannot be read: {fault}")
            case aiohttp.ClientError():  # not its text: that holds the address
                return network_error(ConnectionError("dropped"), address)
            case OSError():
                return network_error(cause, address)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error:
            yield error
            error = error.__cause__


def _plain(error: aiohttp.ClientConnectorError) -> BaseException:
    """Its cause alone: its text holds the address, whose words mean nothing."""
    cause = error.__cause__ or ConnectionError("dropped")
    # Several addresses that failed in several ways come as one text.
    if f"[Errno {errno.ECONNREFUSED}]" in str(cause):
        return ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    return cause


def _unreadable(error: aiohttp.ClientError) -> str | None:
    """What is wrong with an answer that is no good HTTP; None for one that was cut short."""
    fault = list(_causes(error))[-1]
    if isinstance(fault, ContentEncodingError):
        return "it is not packed in the way that its content-encoding names"
    if isinstance(fault, BadStatusLine | ContentLengthError | TransferEncodingError):
        return None
    return "it breaks the rules of HTTP" if isinstance(fault, HttpProcessingError) else None


def _proxy(url: str) -> str:
    return safe_address(proxy_of(url) or "")
