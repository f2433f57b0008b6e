# SPDX-License-Identifier: Apache-2.0
"""A small HTTP server that gives out leases: what it is asked, and what it answers.

One POST to ``/lease`` with ``{"name", "per_minute", "units", "owed"}`` is one lease. The answer
comes when there is one, ``{"in_s", "held_s"}``: in how many seconds the first unit may be used, and
how long who asked was kept waiting, so that it knows how long the answer was on its way. Blanks
before the answer are a sign of life.
"""

import asyncio
import hmac
import re
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from image_grounding.asking.lease_desk import Desk, Given
from image_grounding.asking.leases import Flow
from image_grounding.errors import SharedLimitError
from image_grounding.files import strict_json, to_json

LEASE, STATUS = "/lease", "/status"
# While somebody waits, a sign of life so often.
SIGN_OF_LIFE_S = 5.0
# A lease that takes longer is no request's.
_LONGEST_S = 3600.0
_MOST_BYTES = 4096
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class _Wanted:
    """What somebody asks for."""

    name: str
    per_minute: float
    units: float
    owed: float


def make_app(desk: Desk, token: str) -> web.Application:
    """The application; with a ``token`` it answers only who has it, too."""
    service = _Service(desk, token)
    app = web.Application(client_max_size=_MOST_BYTES, middlewares=[service.guard])
    app.router.add_post(LEASE, service.lease)
    app.router.add_get(STATUS, service.status, allow_head=False)
    return app


class _Service:
    """What answers."""

    def __init__(self, desk: Desk, token: str) -> None:
        self._desk = desk
        self._token = f"Bearer {token}".encode() if token else b""

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Let in who may, and say in JSON what went wrong."""
        given = request.headers.get("Authorization", "").encode(errors="replace")
        if self._token and not hmac.compare_digest(given, self._token):
            return _refusal(401, "the token is missing or wrong")
        try:
            answer: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            return _refusal(error.status, error.reason)
        except SharedLimitError as error:
            return _refusal(400, str(error))
        return answer

    async def lease(self, request: web.Request) -> web.StreamResponse:
        """Answer with a lease once there is one."""
        try:
            body = await request.read()
        except web.RequestPayloadError:
            return _refusal(400, "the body cannot be read")
        wanted = _wanted(body)
        asked = self._desk.lease(wanted.name, wanted.per_minute, wanted.units, wanted.owed)
        lease = asyncio.ensure_future(asked)
        try:
            await asyncio.wait({lease}, timeout=SIGN_OF_LIFE_S)
            if lease.done():
                return _answer(lease.result())
            return await self._late(request, lease)
        finally:
            lease.cancel()

    async def _late(
        self, request: web.Request, lease: asyncio.Future[Given | None]
    ) -> web.StreamResponse:
        """Answer bit by bit: whoever waits sees that the server is there, and the other way."""
        headers = {"X-Accel-Buffering": "no"}  # no proxy is to keep the signs back
        response = web.StreamResponse(headers=headers)
        response.content_type = "application/json"
        await response.prepare(request)
        while not lease.done():
            await response.write(b" ")
            await asyncio.wait({lease}, timeout=SIGN_OF_LIFE_S)
        given = lease.result()
        if given:
            await response.write(to_json(_plain(given)).encode())
            await response.write_eof()
        elif request.transport:  # cut short it is no answer
            request.transport.abort()
        return response

    async def status(self, request: web.Request) -> web.StreamResponse:
        """The quotas, for a person."""
        flows = [_shown(*entry) for entry in self._desk.flows()]
        return web.json_response({"status": "listening", "flows": flows})


def _wanted(body: bytes) -> _Wanted:
    """What a body asks for; raises SharedLimitError where it asks for nothing that can be."""
    try:
        plain = strict_json(body.decode())
        name = plain["name"]
        named = _NAME.fullmatch(name)
    except (ValueError, TypeError, LookupError, RecursionError):
        raise SharedLimitError("the body must be JSON with name, per_minute and units") from None
    if not named:
        raise SharedLimitError("name must be a word")
    per_minute, units, owed = (_number(plain, key) for key in ("per_minute", "units", "owed"))
    if not per_minute > 0:
        raise SharedLimitError("per_minute must be above 0")
    if Flow(per_minute, 0.0).seconds(units + owed) > _LONGEST_S:
        raise SharedLimitError("a lease that takes more than an hour of the quota")
    return _Wanted(name, per_minute, units, owed)


def _number(plain: Any, key: str) -> float:
    value = plain.get(key, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise SharedLimitError(f"{key} must be a number from 0 on")
    return float(value)


def _answer(given: Given | None) -> web.Response:
    if given is None:
        return _refusal(503, "the server is ending")
    if given.kept is not None:
        error = "other runs keep to another quota of this name"
        return web.json_response({"error": error, "per_minute": given.kept}, status=409)
    return web.json_response(_plain(given))


def _plain(given: Given) -> dict[str, float]:
    return {"in_s": round(given.in_s, 6), "held_s": round(given.held_s, 6)}


def _refusal(status: int, error: str) -> web.Response:
    return web.json_response({"error": error}, status=status)


def _shown(name: str, flow: Flow, waiting: int) -> dict[str, Any]:
    ahead = round(max(flow.next, 0.0), 3)
    return {"name": name, "per_minute": flow.per_minute, "ahead_s": ahead, "waiting": waiting}
