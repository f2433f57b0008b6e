# SPDX-License-Identifier: Apache-2.0
"""Below the API: does the name resolve, does the port answer, is the server ready?

Readiness paths: NIM ``/v1/health/ready``, TAO ``/api/v1/health/readiness`` (202 and 503 with a
body that says why), vLLM and llama.cpp ``/health``.
"""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from image_grounding.addresses import split_query
from image_grounding.asking.endpoints.connections import calling, open_session
from image_grounding.asking.endpoints.errors import (
    network_error,
    no_connection,
    safe_address,
    scrub,
)
from image_grounding.errors import EndpointError, LoadingError, UnusableEndpointError

GOOGLE = "https://generativelanguage.googleapis.com"
_TIMEOUT_S = 5.0
_PATHS = (
    ("TAO inference microservice", "/api/v1/health/readiness"),
    ("NIM", "/v1/health/ready"),
    ("vLLM or llama.cpp", "/health"),
)
# What a TAO server says in error.type while it is coming up, and when it never will.
_LOADING = {"server_initializing", "model_loading", "model_not_ready"}
_BROKEN = {"initialization_error", "model_load_error"}
_START = (
    "look at the server's log and start it again; references/vllm_server.md and "
    "references/tao_inference_service.md say how"
)


async def connect(url: str) -> None:
    """Open a connection, with TLS where the address asks for it; raises UnreachableError."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or (443 if secure else 80), ssl=secure or None
            )
        writer.close()
    except TimeoutError:
        raise no_connection(safe_address(url), _TIMEOUT_S) from None
    except OSError as error:
        raise network_error(error, safe_address(url)) from None


async def kind_of_server(url: str) -> str | None:
    """Which kind of server is ready; None where it has no path that says so.

    Raises:
        LoadingError: it is not ready yet.
        UnusableEndpointError: it never will be.
    """
    root = split_query(url)[0].rstrip("/").removesuffix("/v1").rstrip("/")
    async with open_session(url) as session:
        for kind, path in _PATHS:
            status, body = await _get(session, f"{root}{path}")
            if status is None:  # a real request will say why
                return None
            if _is_ready(status, body):
                return kind
    return None


def _is_ready(status: int, body: Any) -> bool:
    """What an answer of a readiness path means; False where the server has no such path."""
    error = body.get("error") if isinstance(body, dict) else None
    why = error.get("type") if isinstance(error, dict) else None
    why = why if isinstance(why, str) else None
    if why in _BROKEN and isinstance(error, dict):
        message = error.get("message")
        text = scrub(message if isinstance(message, str) else why)
        raise UnusableEndpointError(f"the model could not be loaded ({text})", remedy=_START)
    if status in (202, 503) or why in _LOADING:
        raise LoadingError(f"the server is still loading ({why or f'HTTP {status}'})")
    return status == 200 and body is not None


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int | None, Any]:
    """Status and body of a GET; the body is None where it is a page for people."""
    try:
        async with calling(url, _TIMEOUT_S), session.get(url, allow_redirects=False) as answer:
            return answer.status, _body(await answer.read())
    except (EndpointError, ValueError):
        return None, None


def _body(raw: bytes) -> Any:
    if not raw.strip():
        return {}
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None if raw.lstrip().startswith(b"<") else {}
