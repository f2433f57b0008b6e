# SPDX-License-Identifier: Apache-2.0
"""Leases from a server that all processes reach, on whatever machine they are.

Clocks are never compared. A lease counts from the moment at which its answer is here, so that it
is used too early by nobody, and one whose answer was long on its way passes by unused.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Callable

import aiohttp

from image_grounding.addresses import safe_address
from image_grounding.asking.endpoints.answers import BoundedAnswer
from image_grounding.asking.endpoints.connections import broken_call, open_session
from image_grounding.asking.endpoints.errors import scrub
from image_grounding.asking.leases import PATIENCE_S, disagreement, waiting_text
from image_grounding.asking.limit_token import VARIABLE, limit_token
from image_grounding.errors import (
    EndpointError,
    EndpointTimeoutError,
    SharedLimitError,
    UnreachableError,
    UnusableEndpointError,
)
from image_grounding.files import strict_json

# Later than so, and after ``LATEST_S`` more, a minute might hold more than its quota.
_LONGEST_ON_ITS_WAY_S = 0.5
# A server shows that it is there more often.
_SILENT_S, _CONNECT_S = 20.0, 10.0
# No limit server gives anything out for so far away.
_FARTHEST_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 2.0
_MOST_BYTES = 65536
# Statuses of a proxy whose server is away, and of a server that ends.
_PASSING = frozenset({408, 429, *range(500, 600)})
_REMEDY_TOKEN = (
    f"set {VARIABLE} to the same value where limit_server.py starts and where the runs do"
)
_REMEDY_ADDRESS = (
    "workflow.shared_limit is the address that limit_server.py prints, without /lease; what is "
    "finished is kept: the same command again goes on"
)
_REMEDY_TLS = (
    "write http:// in workflow.shared_limit where the server speaks plain HTTP, as limit_server.py "
    "itself does; for a certificate of your own, name its authority with SSL_CERT_FILE; what is "
    "finished is kept: the same command again goes on"
)
_REMEDY_AWAY = (
    "start limit_server.py again, or mend the way to it; what is finished is kept: the same "
    "command again goes on"
)


class _LateError(EndpointTimeoutError):
    """A lease that is of no use any more; the next one may be."""


class LeaseServer:
    """Leases from a ``limit_server.py``.

    Args:
        address: where it listens.
        say: hears of a server that is away.
        patience: for so many seconds it may be.
    """

    def __init__(
        self, address: str, say: Callable[[str], None], patience: float = PATIENCE_S
    ) -> None:
        self._url = f"{address.rstrip('/')}/lease"
        self._shown = safe_address(address).rstrip("/")
        self._say = say
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None
        self._since: float | None = None

    @property
    def waiting(self) -> str:
        """See ``Leases.waiting``."""
        return waiting_text("waiting for the limit server for", self._since)

    async def lease(self, name: str, per_minute: float, units: float, owed: float = 0.0) -> float:
        """See ``Leases.lease``; it is asked for again while the server is away."""
        body = {"name": name, "per_minute": per_minute, "units": units, "owed": owed}
        headers = {"Authorization": f"Bearer {token}"} if (token := limit_token()) else {}
        try:
            return await self._ask_again(body, headers)
        finally:
            self._since = None

    async def close(self) -> None:
        """Let the connection go."""
        if self._session:
            await self._session.close()

    async def _ask_again(self, body: dict[str, object], headers: dict[str, str]) -> float:
        """Ask until there is an answer; raises SharedLimitError."""
        asked, pause = time.monotonic(), _FIRST_PAUSE_S
        while True:
            try:
                return await self._ask(body, headers)
            except SharedLimitError:
                raise
            except (UnreachableError, EndpointTimeoutError) as error:
                self._since = self._since or asked
                if time.monotonic() + pause > asked + self._patience:
                    message = f"no lease from the limit server for {self._patience:.0f} s: {error}"
                    raise SharedLimitError(message, remedy=_REMEDY_AWAY) from None
                if isinstance(error, _LateError):
                    continue
                if pause == _FIRST_PAUSE_S:
                    self._say(f"waiting for the limit server: {error}")
            except EndpointError as error:
                message = f"the limit server {self._shown} cannot be used: {error}"
                raise SharedLimitError(message, remedy=error.remedy) from None
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _ask(self, body: dict[str, object], headers: dict[str, str]) -> float:
        """Ask once.

        Raises:
            SharedLimitError: whoever is there gives no leases.
            UnreachableError, EndpointTimeoutError: it is away.
            _LateError: the lease came too late.
        """
        sent = time.monotonic()
        status, text = await self._post(body, headers)
        here = time.monotonic()
        if status in _PASSING:
            raise UnreachableError(f"{self._shown} answers with HTTP {status}")
        if status == 401:
            message = f"the limit server {self._shown} refuses the token"
            message = message if headers else f"the limit server {self._shown} wants a token"
            raise SharedLimitError(message, remedy=_REMEDY_TOKEN)
        found = _object(text)
        if status == 409 and (kept := _number(found, "per_minute")):
            wanted = _number(body, "per_minute") or 0.0
            raise disagreement(str(body["name"]), kept, wanted, self._shown)
        if status in (400, 413) and isinstance(found.get("error"), str):
            message = f"the limit server {self._shown} gives no such lease: "
            raise SharedLimitError(message + scrub(str(found["error"])))
        ahead, held = _number(found, "in_s"), _number(found, "held_s")
        if status != 200 or held is None or ahead is None or abs(ahead) > _FARTHEST_S:
            message = f"{self._shown} is no limit server (HTTP {status})"
            raise SharedLimitError(message, remedy=_REMEDY_ADDRESS)
        if here - sent - held > _LONGEST_ON_ITS_WAY_S:
            way = here - sent - held
            raise _LateError(f"an answer of {self._shown} was {way:.1f} s on its way")
        return here + ahead

    async def _post(self, body: dict[str, object], headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer; raises an EndpointError where there is none."""
        timeout = aiohttp.ClientTimeout(None, sock_connect=_CONNECT_S, sock_read=_SILENT_S)
        if self._session is None:
            self._session = open_session(self._url)
        try:
            async with self._session.post(
                self._url, json=body, headers=headers, allow_redirects=False, timeout=timeout
            ) as answer:
                assert isinstance(answer, BoundedAnswer)
                return answer.status, await answer.start_of_body(_MOST_BYTES)
        except Exception as error:
            found = broken_call(error, self._url, _SILENT_S)
            if found and _is_of_tls(error):
                raise UnusableEndpointError(str(found), remedy=_REMEDY_TLS) from None
            if found:
                raise found from None
            raise


def _is_of_tls(error: BaseException | None) -> bool:
    """Whether the other side speaks no TLS, or none that is trusted: no wait changes that.

    A handshake that is cut off is that of a server, or of the proxy before it, that ends.
    """
    while error and not isinstance(error, ssl.SSLError):
        error = error.__cause__
    return error is not None and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)


def _object(text: bytes) -> dict[str, object]:
    """The JSON object in a body; an empty one where it holds something else."""
    try:
        found = strict_json(text.decode())
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(found: dict[str, object], key: str) -> float | None:
    value = found.get(key)
    return float(value) if isinstance(value, int | float) else None
