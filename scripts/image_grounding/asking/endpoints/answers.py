# SPDX-License-Identifier: Apache-2.0
"""What comes back over a session, of either SDK: bounded, from where it was asked for, a 200."""

import json
import re
from collections.abc import Sequence
from typing import Any

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from image_grounding.asking.endpoints.errors import error_text, safe_address, scrub, status_error
from image_grounding.errors import EndpointError, ServerFaultError, UnusableEndpointError

_MIB = 2**20
# No completion and no list of models is nearly as large, whatever it is packed into.
_MOST_OF_COMPLETION, _MOST_OF_LIST = 32 * _MIB, 8 * _MIB
_MOST_OF_ERROR = 64 * 2**10
_REMEDY_REDIRECT = (
    "neither key nor picture is sent to another address: if the API is there, make it base_url; "
    "a login page or a proxy on the way redirects, too"
)


class BoundedAnswer(aiohttp.ClientResponse):
    """An answer whose body, unpacked, is read up to a bound."""

    async def read(self) -> bytes:
        """The body.

        Raises:
            ServerFaultError: it is larger than any that is wanted.
        """
        if self._body is None:
            most = _MOST_OF_LIST if self.method == "GET" else _MOST_OF_COMPLETION
            body = await self.start_of_body(most + 1)
            if len(body) > most:
                raise ServerFaultError(f"the endpoint's answer is over {most // _MIB} MiB long")
            self._body = body
        return await super().read()

    async def start_of_body(self, most: int) -> bytes:
        """Up to ``most`` bytes of the body; the connection is closed where there are more."""
        parts: list[bytes] = []
        left = most
        protocol = self.connection.protocol if self.connection else None
        lost = None if protocol is None else protocol.closed
        try:
            if lost:
                lost.add_done_callback(self._lose)
            elif protocol is not None:
                self._lose()
            while left and (part := await self.content.read(min(left, 2**16))):
                parts.append(part)
                left -= len(part)
        except BaseException:
            self.close()
            raise
        finally:
            if lost:
                lost.remove_done_callback(self._lose)
        if not left:
            self.close()
        return b"".join(parts)

    def _lose(self, *_: object) -> None:
        """End the body with its connection, where that was closed over a fault in mid-body.

        aiohttp would let the body's reader wait.
        """
        protocol = self.connection.protocol if self.connection else None
        fault = None if protocol is None else protocol.exception()
        ended = self.content.is_eof() or self.content.exception()
        if isinstance(fault, HttpProcessingError) and not ended:
            error = aiohttp.ClientPayloadError()
            error.__cause__ = fault
            self.content.set_exception(error)


def only_good(secrets: Sequence[str]) -> aiohttp.ClientMiddlewareType:
    """A session's middleware that lets an answer pass if it is one, and raises our errors.

    A redirect is followed nowhere. What an error's body says is in the error's text.

    Args:
        secrets: what must be in no text.
    """

    async def look(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> Any:
        answer = await send(request)
        if answer.status < 300:
            return answer
        assert isinstance(answer, BoundedAnswer)
        if answer.status < 400:
            answer.close()
            raise _redirected(answer, secrets)
        try:
            body = _value(await answer.start_of_body(_MOST_OF_ERROR))
        except aiohttp.ClientError:  # its status says enough
            body = None
        raise _refused(answer, body, secrets)

    return look


def _redirected(answer: aiohttp.ClientResponse, secrets: Sequence[str]) -> EndpointError:
    place = scrub(safe_address(answer.headers.get("location", "")), *secrets)
    message = f"the endpoint redirects to {place or 'no address'} (HTTP {answer.status})"
    return UnusableEndpointError(message, status=answer.status, remedy=_REMEDY_REDIRECT)


def _refused(answer: aiohttp.ClientResponse, body: Any, secrets: Sequence[str]) -> EndpointError:
    message = scrub(error_text(body) or answer.reason or "", *secrets)
    reason, delay = _reason_and_delay(body)
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return status_error(answer.status, message, headers, reason=reason, retry_after=delay)


def _value(body: bytes) -> Any:
    """What stands in an error's body: JSON, or a text."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


def _reason_and_delay(body: Any) -> tuple[str, float | None]:
    """What details in Google's way say: ErrorInfo's reason, RetryInfo's delay in seconds."""
    error = body[0] if isinstance(body, list) and body else body
    error = error.get("error", error) if isinstance(error, dict) else {}
    details = error.get("details") if isinstance(error, dict) else None
    reason, delay = "", None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            reason = reason or str(detail.get("reason") or "")
            written = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(detail.get("retryDelay")))
            delay = float(written[1]) if written else delay
    return reason, delay
