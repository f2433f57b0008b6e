# SPDX-License-Identifier: Apache-2.0
"""From HTTP statuses and network failures to our errors; free of secrets."""

import email.utils
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from image_grounding.errors import (
    EndpointError,
    KeyRefusedError,
    RateLimitedError,
    RejectedRequestError,
    ServerFaultError,
    UnknownModelError,
    UnreachableError,
)

MAX_MESSAGE = 300
_HOSTED = (".googleapis.com", ".nvidia.com", ".openai.com")
_REMEDY_HOSTED = (
    "the provider runs this address: check that this machine may reach the internet (DNS, "
    "firewall, and HTTPS_PROXY where there is a proxy)"
)
_NO_HOST = ("getaddrinfo", "Name or service", "resol", "nodename")
_MESSAGE_KEYS = ("error", "message", "detail")
_MAX_NESTING = 20
_KEY_LIKE = re.compile(r"\b(?:sk-|nvapi-|AIza|hf_)[\w-]{8,}|(?i:bearer\s+)[\w.~+/-]{8,}")


def scrub(text: str, *secrets: str) -> str:
    """``text`` on one line, at most ``MAX_MESSAGE`` long, without keys or what looks like one."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, "(key)")
    return " ".join(_KEY_LIKE.sub("(key)", text).split())[:MAX_MESSAGE]


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
    status: int, message: str, headers: Mapping[str, str] | None = None
) -> EndpointError:
    """The error for an HTTP status; ``message`` is the server's own, scrubbed."""
    said = f": {message}" if message else ""
    text = f"HTTP {status}{said}"
    low = message.lower()
    wait = retry_after_seconds(headers)
    if status in (401, 403) or (status == 400 and "api key" in low and "valid" in low):
        return KeyRefusedError(f"the endpoint refused the key ({text})", status=status)
    if status == 429:
        message = f"rate limit reached ({text})"
        return RateLimitedError(message, status=status, retry_after=wait)
    if status == 404 or (status == 400 and "model" in low and _names_no_model(low)):
        message = f"no such model or path at the endpoint ({text})"
        return UnknownModelError(message, status=status)
    if status == 408 or status >= 500:
        message = f"the endpoint failed ({text})"
        return ServerFaultError(message, status=status, retry_after=wait)
    return RejectedRequestError(f"the endpoint rejected the request ({text})", status=status)


def _names_no_model(message: str) -> bool:
    return any(words in message for words in ("not found", "does not exist", "unknown model"))


def network_error(error: BaseException, address: str) -> UnreachableError:
    """The error for a connection that failed, with its cause in plain words."""
    causes = list(_causes(error))
    text = " ".join(str(cause) for cause in causes)
    if any(isinstance(cause, ssl.SSLError) for cause in causes) or "CERTIFICATE" in text.upper():
        what = "the TLS certificate or handshake was not accepted"
    elif any(isinstance(cause, ConnectionRefusedError) for cause in causes) or "refused" in text:
        what = "the connection was refused: nothing listens there"
    elif any(sign in text for sign in _NO_HOST):
        what = "there is no such host"
    else:
        what = "the connection failed or was dropped"
    hosted = (urlsplit(address).hostname or "").endswith(_HOSTED)
    remedy = _REMEDY_HOSTED if hosted else None
    return UnreachableError(f"cannot reach {address}: {what}", remedy=remedy)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        if isinstance(error, BaseExceptionGroup):
            yield from error.exceptions
        error = error.__cause__ or error.__context__


def safe_address(url: str) -> str:
    """``url`` without user name, password and query."""
    match = re.match(r"(\w+://)?(?:[^/?#]*@)?([^?#]*)", url)
    return f"{match.group(1) or ''}{match.group(2)}" if match else ""
