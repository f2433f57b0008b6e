# SPDX-License-Identifier: Apache-2.0
"""Below the API: does the name resolve, does the port answer, is the server ready?

Readiness paths: NIM ``/v1/health/ready``, TAO ``/api/v1/health/readiness`` (202 and 503 with a
body that says why), vLLM and llama.cpp ``/health``.
"""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from image_grounding.endpoints.errors import network_error, safe_address, scrub
from image_grounding.errors import UnreachableError
from image_grounding.health.model import Status, Step

CONNECTION = "name and port"
READINESS = "readiness"
_GOOGLE = "https://generativelanguage.googleapis.com"
_TIMEOUT_S = 5.0
_POLL_S = 1.0
_PATHS = (
    ("TAO inference microservice", "/api/v1/health/readiness"),
    ("NIM", "/v1/health/ready"),
    ("vLLM or llama.cpp", "/health"),
)
# What a TAO server says in error.type while it is coming up, and when it never will.
_LOADING = {"server_initializing", "model_loading", "model_not_ready"}
_BROKEN = {"initialization_error", "model_load_error"}
_STILL_LOADING = "wait until the weights are loaded: --wait 600 looks again until then"
_START = (
    "look at the server's log and start it again; references/vllm_server.md and "
    "references/tao_inference_service.md say how"
)


async def look_at_server(
    base_url: str, wait: float = 0.0, say: Callable[[str], None] = lambda message: None
) -> list[Step]:
    """The steps ``name and port`` and ``readiness``.

    Args:
        base_url: the API's address; empty for Google's own.
        wait: seconds to go on looking while nothing listens yet or the model is loading.
        say: called now and then while waiting.
    """
    until = time.monotonic() + wait
    told = ""
    while True:
        steps = await _look_once(base_url or _GOOGLE)
        last = steps[-1]
        waiting = last.status is Status.FAIL and last.details.get("may_come", False)
        if not waiting or time.monotonic() >= until:
            return steps
        if last.message != told:
            say(f"waiting: {last.message}")
            told = last.message
        await asyncio.sleep(_POLL_S)


async def _look_once(url: str) -> list[Step]:
    parts = urlsplit(url)
    address = safe_address(url)
    if _behind_proxy(parts.scheme, parts.hostname or ""):
        steps = [Step(CONNECTION, Status.SKIPPED, "requests go through a proxy")]
    else:
        try:
            await _connect(url)
        except UnreachableError as error:
            may_come = "refused" in str(error)
            message, remedy = str(error), error.remedy
            return [Step(CONNECTION, Status.FAIL, message, remedy, {"may_come": may_come})]
        steps = [Step(CONNECTION, Status.OK, f"{parts.hostname} answers at {address}")]
    return [*steps, await _readiness(url)]


def _behind_proxy(scheme: str, host: str) -> bool:
    proxies = urllib.request.getproxies()
    return scheme in proxies and not urllib.request.proxy_bypass(host)


async def _connect(url: str) -> None:
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
        message = f"cannot reach {safe_address(url)}: no connection within {_TIMEOUT_S:g} s"
        raise UnreachableError(message) from None
    except OSError as error:
        raise network_error(error, safe_address(url)) from None


async def _readiness(url: str) -> Step:
    root = url.rstrip("/").removesuffix("/v1").rstrip("/")
    for kind, path in _PATHS:
        status, body = await asyncio.to_thread(_get, f"{root}{path}")
        if step := _judge(kind, status, body):
            return step
    return Step(READINESS, Status.SKIPPED, "the server has no path for it (hosted, or custom)")


def _judge(kind: str, status: int | None, body: Any) -> Step | None:
    """What an answer of a readiness path means; None where the server has no such path."""
    error = body.get("error") if isinstance(body, dict) else None
    why = error.get("type") if isinstance(error, dict) else None
    if why in _BROKEN:
        said = scrub(str(error.get("message") or why)) if isinstance(error, dict) else why
        return Step(READINESS, Status.FAIL, f"the model could not be loaded ({said})", _START)
    if status in (202, 503) or why in _LOADING:
        message = f"the server is still loading ({why or f'HTTP {status}'})"
        return Step(READINESS, Status.FAIL, message, _STILL_LOADING, {"may_come": True})
    if status == 200 and body is not None:
        return Step(READINESS, Status.OK, f"ready ({kind})", details={"kind": kind})
    return None


def _get(url: str) -> tuple[int | None, Any]:
    """Status and body of a GET; the body is None where it is a page for people."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            return answer.status, _body(answer.read(65_536))
    except urllib.error.HTTPError as error:
        return error.code, _body(error.read(65_536))
    except (OSError, ValueError):
        return None, None


def _body(raw: bytes) -> Any:
    if not raw.strip():
        return {}
    try:
        return json.loads(raw)
    except ValueError:
        return None if raw.lstrip().startswith(b"<") else {}
