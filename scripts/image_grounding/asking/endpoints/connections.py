# SPDX-License-Identifier: Apache-2.0
"""What both SDKs' aiohttp transports need: errors with their causes, a session, a proxy."""

import errno
import urllib.request
from urllib.parse import urlsplit

import aiohttp

# An idle connection is let go before servers close theirs (uvicorn after 5 s).
KEEP_ALIVE_S = 5.0


def lost_connection(error: BaseException) -> BaseException | None:
    """What broke the connection, where it was no timeout; None for all else.

    The cause alone: aiohttp's own texts hold the address, whose words mean nothing. An SDK may
    have wrapped it as a timeout, which it is not.
    """
    found: BaseException | None = error
    while found and not isinstance(found, aiohttp.ClientError):
        found = found.__cause__
    if found is None or isinstance(found, TimeoutError):
        return None
    cause = found.__cause__ if isinstance(found, aiohttp.ClientConnectorError) else None
    if cause is None:
        return ConnectionError("dropped")
    # Several addresses that failed in several ways come as one text.
    if f"[Errno {errno.ECONNREFUSED}]" in str(cause):
        return ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    return cause


def open_session(url: str) -> aiohttp.ClientSession:
    """A session for the host of ``url``, through its proxy; call it in the event loop.

    No limit of connections: the gate bounds what is in flight. No ``.netrc``, whose passwords
    are for other programs.
    """
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
    return aiohttp.ClientSession(connector=connector, proxy=proxy_of(url))


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for ``url``."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
