# SPDX-License-Identifier: Apache-2.0
"""The steps below the API: name and port, readiness; with waiting for a server that loads."""

import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from image_grounding.asking.endpoints.connections import proxy_of
from image_grounding.asking.endpoints.errors import safe_address
from image_grounding.asking.endpoints.readiness import GOOGLE, connect, kind_of_server
from image_grounding.errors import EndpointError, LoadingError
from image_grounding.health.model import CheckStep, Status, failed

CONNECTION, READINESS = "name and port", "readiness"
_POLL_S = 1.0


async def look_at_server(
    base_url: str, wait: float = 0.0, say: Callable[[str], None] = lambda message: None
) -> list[CheckStep]:
    """The steps ``name and port`` and ``readiness``.

    Args:
        base_url: the API's address; empty for Google's own.
        wait: seconds to go on looking while nothing listens yet or the model is loading.
        say: called now and then while waiting.
    """
    until = time.monotonic() + wait
    shown = ""
    while True:
        steps, error = await _look_once(base_url or GOOGLE)
        may_come = isinstance(error, LoadingError) or "refused" in str(error)
        if error is None or not may_come or time.monotonic() >= until:
            return steps
        if str(error) != shown:
            say(f"waiting: {error}")
            shown = str(error)
        await asyncio.sleep(_POLL_S)


async def _look_once(url: str) -> tuple[list[CheckStep], EndpointError | None]:
    """The steps as far as they go, and what the last one failed with."""
    name, steps = CONNECTION, []
    try:
        if proxy_of(url):
            steps.append(CheckStep(CONNECTION, Status.SKIPPED, "requests go through a proxy"))
        else:
            await connect(url)
            message = f"{urlsplit(url).hostname} answers at {safe_address(url)}"
            steps.append(CheckStep(CONNECTION, Status.OK, message))
        name = READINESS
        kind = await kind_of_server(url)
    except EndpointError as error:
        return [*steps, failed(name, error)], error
    if kind is None:
        message = "the server has no path for it (hosted, or custom)"
        return [*steps, CheckStep(READINESS, Status.SKIPPED, message)], None
    ready = CheckStep(READINESS, Status.OK, f"ready ({kind})", details={"kind": kind})
    return [*steps, ready], None
