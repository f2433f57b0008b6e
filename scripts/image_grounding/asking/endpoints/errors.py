# SPDX-License-Identifier: Apache-2.0
"""From HTTP statuses and network failures to our errors; free of secrets."""

import email.utils
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from image_grounding.addresses import safe_address as safe_address
from image_grounding.errors import (
    EndpointError,
    KeyRefusedError,
    RateLimitedError,
    RejectedRequestError,
    ServerFaultError,
    UnknownModelError,
    UnreachableError,
    UnusableEndpointError,
)
from image_grounding.spec.secrets import NO_KEY as NO_KEY

MAX_MESSAGE = 300
_HOSTED = (".googleapis.com", ".nvidia.com", ".openai.com")
_REMEDY_HOSTED = (
    "the provider runs this address: check that this machine may reach the internet (DNS, "
    "firewall, and HTTPS_PROXY where there is a proxy)"
)
_REMEDY_NO_HOST = (
    "check the spelling of the host in base_url, and that this machine can resolve it (DNS, VPN, "
    "the name of a container's network)"
)
_REMEDY_TLS = (
    "write http:// where the server speaks plain HTTP; for a certificate of your own, name its "
    "authority with SSL_CERT_FILE"
)
_REMEDY_TLS_HOSTED = (
    "something between here and the provider breaks TLS, mostly a company's proxy: name its "
    "authority with SSL_CERT_FILE"
)
_REMEDY_NO_CONNECTION = (
    "check host and port in base_url, that the machine is up, and that no firewall drops the "
    "connection"
)
_REMEDY_PROXY_PASSWORD = (
    "name the proxy as http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY or HTTP_PROXY, or the "
    "endpoint's host in NO_PROXY if it is reached without one"
)
_REMEDY_UNPAID = "top up the account of the key, or put another key into its environment variable"
_REMEDY_DROPPED = "look at the server's log, and at a proxy or firewall on the way to it"
# A model without eyes, whatever the status: llama.cpp answers 500, OpenRouter 404.
_NO_IMAGES = re.compile(
    r"mmproj|support(?:s|ing)? (?:image|vision|multi-?modal)|not (?:a )?multi-?modal"
    r"|image input is not|at most 0 image|image_url.{0,40}(?:not supported|only supported)"
    r"|unknown variant `image_url`"
)
_OF_IMAGES = re.compile(rf"image|vision|multi-?modal|{_NO_IMAGES.pattern}")
_NO_HOST = ("getaddrinfo", "Name or service", "resol", "nodename")
# What is over in a moment: a request that came too slowly, at the wrong time, or too early.
_PASSING = frozenset({408, 409, 425})
_MESSAGE_KEYS = ("error", "message", "detail")
_MAX_NESTING = 20
_KEY_LIKE = re.compile(r"\b(?:sk-|nvapi-|AIza|hf_)[\w-]{8,}|(?i:bearer\s+)[\w.~+/-]{8,}")


def redact(text: str, *secrets: str) -> str:
    """``text`` with each of the secrets replaced; what is no secret at all stays."""
    for secret in secrets:
        if len(secret) >= 4 and secret != NO_KEY:
            text = text.replace(secret, "(key)")
    return text


def scrub(text: str, *secrets: str) -> str:
    """``text`` on one line, at most ``MAX_MESSAGE`` long, without keys or what looks like one."""
    return " ".join(_KEY_LIKE.sub("(key)", redact(text, *secrets)).split())[:MAX_MESSAGE]


def require_sendable(key: str) -> None:
    """Raise KeyRefusedError where no HTTP header can carry a key."""
    if not (key.isascii() and key.isprintable()):
        raise KeyRefusedError(
            "the key holds a line break or another character that cannot be sent: it was mostly "
            "not copied well",
            remedy="put the key alone, on one line, into its environment variable",
        )


def retry_after_seconds(headers: Mapping[str, str] | None) -> float | None:
    """Seconds to wait by a ``Retry-After`` header (seconds or a date), or None."""
    value = (headers or {}).get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        parsed = email.utils.parsedate_tz(value)
        return max(email.utils.mktime_tz(parsed) - time.time(), 0.0) if parsed else None
    except (ValueError, OverflowError):  # no date at all, whatever it looks like
        return None


def error_text(body: Any) -> str:
    """The message in an error body, whatever shape the server gives it."""
    for _ in range(_MAX_NESTING):
        if isinstance(body, list) and body:
            body = body[0]
        elif isinstance(body, dict) and (key := next(filter(body.get, _MESSAGE_KEYS), None)):
            body = body[key]
        else:
            return "" if body is None else str(body)
    return ""


def status_error(
    status: int,
    message: str,
    headers: Mapping[str, str] | None = None,
    *,
    reason: str = "",
    retry_after: float | None = None,
) -> EndpointError:
    """The error for an HTTP status.

    Args:
        status: of the answer.
        message: the server's own, scrubbed.
        headers: of the answer; for ``Retry-After``.
        reason: a name for the cause, where the body has one (``API_KEY_INVALID``).
        retry_after: seconds to wait, where the body says so.
    """
    text = f"HTTP {status}" + (f": {message}" if message else "")
    low = message.lower()
    named = retry_after_seconds(headers)
    wait = retry_after if named is None else named
    key = "api key" in low and any(word in low for word in ("valid", "expired"))
    if status in (401, 403) or (status == 400 and (key or reason.startswith("API_KEY"))):
        what = f"the endpoint refused the key ({text})"
        return KeyRefusedError(what, status=status, server_text=message)
    if status == 402:
        what = f"the endpoint wants to be paid first ({text})"
        return UnusableEndpointError(
            what, status=status, server_text=message, remedy=_REMEDY_UNPAID
        )
    if status == 407:
        what = f"a proxy on the way wants a password ({text})"
        return UnusableEndpointError(what, status=status, remedy=_REMEDY_PROXY_PASSWORD)
    if status == 429:
        what = f"rate limit reached ({text})"
        return RateLimitedError(what, status=status, server_text=message, retry_after=wait)
    no_images = _NO_IMAGES.search(low)
    nowhere = status == 404 or (status == 400 and "model" in low and _names_no_model(low))
    if nowhere and not no_images:
        what = f"no such model or path at the endpoint ({text})"
        return UnknownModelError(what, status=status, server_text=message)
    if (status in _PASSING or status >= 500) and not no_images:
        what = f"the endpoint failed ({text})"
        return ServerFaultError(what, status=status, server_text=message, retry_after=wait)
    what = f"the endpoint rejected the request ({text})"
    return RejectedRequestError(what, status=status, server_text=message)


def speaks_of_images(error: EndpointError) -> bool:
    """Whether a server's own words are about images."""
    return bool(_OF_IMAGES.search(error.server_text.lower()))


def _names_no_model(message: str) -> bool:
    return any(words in message for words in ("not found", "does not exist", "unknown model"))


def network_error(error: BaseException, address: str) -> UnreachableError:
    """The error for a connection that failed, with its cause and remedy in plain words."""
    causes = list(_causes(error))
    text = " ".join(str(cause) for cause in causes)
    hosted = is_hosted(address)
    elsewhere = _REMEDY_HOSTED if hosted else None
    if any(isinstance(cause, ssl.SSLError) for cause in causes) or "CERTIFICATE" in text.upper():
        what = "the TLS certificate or handshake was not accepted"
        remedy = _REMEDY_TLS_HOSTED if hosted else _REMEDY_TLS
    elif any(isinstance(cause, ConnectionRefusedError) for cause in causes) or "refused" in text:
        what = "the connection was refused: nothing listens there"
        remedy = elsewhere or UnreachableError.remedy
    elif any(sign in text for sign in _NO_HOST):
        what = "there is no such host"
        remedy = elsewhere or _REMEDY_NO_HOST
    else:
        what = "the connection failed or was dropped"
        remedy = elsewhere or _REMEDY_DROPPED
    return UnreachableError(f"cannot reach {address}: {what}", remedy=remedy)


def is_hosted(url: str) -> bool:
    """Whether a provider runs this address: it is not the user's to start."""
    return (urlsplit(url).hostname or "").endswith(_HOSTED)


def no_connection(address: str, seconds: float) -> UnreachableError:
    """The error for a connection that was not made within ``seconds``."""
    remedy = _REMEDY_HOSTED if is_hosted(address) else _REMEDY_NO_CONNECTION
    message = f"cannot reach {address}: no connection within {seconds:g} s"
    return UnreachableError(message, remedy=remedy)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        if isinstance(error, BaseExceptionGroup):
            yield from error.exceptions
        error = error.__cause__ or error.__context__
