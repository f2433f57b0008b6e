# SPDX-License-Identifier: Apache-2.0
"""Files of web servers: one request each, with bounds on time, size, redirects and attempts."""

from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError

from image_grounding import __version__
from image_grounding.errors import StoreError
from image_grounding.storage.address import shown
from image_grounding.storage.facts import Facts, ObjectTooLargeError

_BLOCK = 1 << 20
_CONNECT_S, _READ_S = 10.0, 60.0
# Tries in all, with growing pauses; a server that asks for more time than this is not waited for.
_MORE_TRIES, _PAUSE_S, _LONGEST_PAUSE_S = 3, 0.5, 20.0
_REDIRECTS = 3
_AT_ONCE = 32
_AGAIN = (408, 429, 500, 502, 503, 504)
_GONE = (404, 410)
_REFUSED = (401, 403, 407)


class _Retry(urllib3.Retry):
    """Does not wait for as long as a server likes."""

    def get_retry_after(self, response: Any) -> float | None:
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, _LONGEST_PAUSE_S)


def look(address: str) -> Facts:
    """What a server says of a file; one that knows no HEAD says nothing.

    Raises:
        FileNotFoundError: there is none.
        StoreError: the server does not say.
    """
    response = _request("HEAD", address, {})
    response.drain_conn()
    if response.status in (405, 501):
        return Facts(None, None)
    _check(response, address)
    return _facts(response)


def read(address: str, most: int, *, head: bool = False) -> tuple[bytes, Facts]:
    """The bytes of a file, and what the server says of it; see ``store.read``."""
    response = _request("GET", address, {"Range": f"bytes=0-{most - 1}"} if head else {})
    try:
        _check(response, address)
        facts = _facts(response)
        if not head and facts.size is not None and facts.size > most:
            raise ObjectTooLargeError(facts.size)
        data = bytearray()
        while len(data) <= most and (block := response.read(_BLOCK, decode_content=False)):
            data += block
    except FileNotFoundError:
        raise
    except (HTTPError, OSError) as error:
        raise _cannot(address, error) from None
    finally:
        response.close()  # a connection whose answer was read to its end is back in the pool
    if head:
        return bytes(data[:most]), Facts(None, None)
    if len(data) > most:
        raise ObjectTooLargeError(len(data))
    return bytes(data), facts


def _request(method: str, address: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
    try:
        return _pool(_proxy(address)).request(
            method,
            address,
            headers={"Accept-Encoding": "identity", "User-Agent": _AGENT, **headers},
            preload_content=False,
        )
    except (HTTPError, OSError, UnicodeError) as error:
        raise _cannot(address, error) from None


_AGENT = f"image-grounding/{__version__}"


def _check(response: urllib3.BaseHTTPResponse, address: str) -> None:
    if response.status in _GONE:
        raise FileNotFoundError(address)
    if response.status not in (200, 206):
        refused = response.status in _REFUSED
        message = f"the store does not give {shown(address)}: HTTP {response.status}"
        raise StoreError(message, refused=refused)


def _facts(response: urllib3.BaseHTTPResponse) -> Facts:
    length = response.headers.get("Content-Length", "")
    version = response.headers.get("ETag") or response.headers.get("Last-Modified")
    return Facts(int(length) if length.isdecimal() else None, version)


def _cannot(address: str, error: Exception) -> StoreError:
    """Without the error's own text, which holds the address."""
    cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    return StoreError(f"the store does not give {shown(address)}: {type(cause).__name__}")


def _proxy(address: str) -> str | None:
    parts = urlsplit(address)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme.lower()) or proxies.get("all")
    return None if not proxy or proxy_bypass(parts.hostname or "") else proxy


@lru_cache(maxsize=4)
def _pool(proxy: str | None) -> urllib3.PoolManager:
    settings: dict[str, Any] = {
        "maxsize": _AT_ONCE,
        "timeout": urllib3.Timeout(connect=_CONNECT_S, read=_READ_S),
        "retries": _Retry(
            total=_MORE_TRIES + _REDIRECTS,
            connect=_MORE_TRIES,
            read=_MORE_TRIES,
            status=_MORE_TRIES,
            redirect=_REDIRECTS,
            status_forcelist=_AGAIN,
            backoff_factor=_PAUSE_S,
            backoff_max=_LONGEST_PAUSE_S,
            raise_on_status=False,
        ),
    }
    return urllib3.ProxyManager(proxy, **settings) if proxy else urllib3.PoolManager(**settings)
