# SPDX-License-Identifier: Apache-2.0
"""``limit_server.py``: one quota for runs on several machines."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import click
import filelock
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from image_grounding.asking.lease_desk import Desk, still_known
from image_grounding.asking.leases import Flow, read_flows, write_flows
from image_grounding.asking.limit_service import make_app
from image_grounding.asking.limit_token import VARIABLE, limit_token
from image_grounding.cli.common import reporting_errors
from image_grounding.errors import ImageGroundingError, OutputError, SharedLimitError
from image_grounding.files import clean_json
from image_grounding.terminal import printable

# The state is at most so old.
_STATE_EVERY_S = 10.0
_BACKLOG = 256


def limit_server_tool(host: str, port: int, state: Path | None) -> None:
    """Give out a quota to runs on several machines, until a signal ends it."""
    with reporting_errors():
        try:
            token = limit_token()
            with _held(state), _listen(host, port) as listening:
                known = read_flows(state) if state else {}
                if state:
                    write_flows(state, known)
                asyncio.run(_serve(listening, host, token, known, state))
        except SharedLimitError as error:  # its remedy is for runs
            raise ImageGroundingError(str(error)) from None
        except OSError as error:
            message = f"cannot use the state {state}: {error.strerror or error}"
            raise OutputError(message) from None


@contextlib.contextmanager
def _held(state: Path | None) -> Iterator[None]:
    """Keep the file for this server; the system lets go of it when the process dies."""
    if state is None:
        yield
        return
    lock = filelock.FileLock(f"{state}.lock", timeout=0)
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise OutputError(f"another process uses {state}; each server needs its own") from None
    try:
        yield
    finally:
        lock.release()


async def _serve(
    listening: socket.socket, host: str, token: str, known: dict[str, Flow], state: Path | None
) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    # The address is ours by now, so that the server before this one is at work no more.
    desk = Desk(still_known(known, time.time(), _STATE_EVERY_S))
    runner = web.AppRunner(
        make_app(desk, token), handler_cancellation=True, access_log=None, logger=_log(),
        shutdown_timeout=0.1,
    )  # fmt: skip
    await runner.setup()
    await web.SockSite(runner, listening, backlog=_BACKLOG).start()
    _announce(host, listening.getsockname()[1], protected=bool(token))
    keeping = asyncio.create_task(_keep(desk, state)) if state else None
    await ended.wait()
    desk.close()
    await runner.cleanup()
    if state and keeping:
        keeping.cancel()
        _write(state, _flows(desk))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no such host"
        raise ImageGroundingError(f"cannot listen on {host}:{port}: {reason}") from None


def _announce(host: str, port: int, *, protected: bool) -> None:
    if not protected and not _is_loopback(host):
        click.echo(
            "warning: whoever reaches this address may use up the quota; "
            f"set {VARIABLE} here and where the runs start",
            err=True,
        )
    name = f"[{host}]" if ":" in host else host
    facts = {"status": "listening", "url": f"http://{name}:{port}", "pid": os.getpid()}
    click.echo(clean_json({**facts, "token": protected}))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _keep(desk: Desk, state: Path) -> None:
    """Write the state now and then, and when there is another quota."""
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(desk.news.wait(), _STATE_EVERY_S)
        desk.news.clear()
        await asyncio.to_thread(_write, state, _flows(desk))


def _flows(desk: Desk) -> dict[str, Flow]:
    """What a server after this one is to know, by the clock of all processes."""
    now = time.time()
    return {name: Flow(flow.per_minute, now + flow.next) for name, flow, _ in desk.flows()}


def _write(state: Path, flows: dict[str, Flow]) -> None:
    try:
        write_flows(state, flows)
    except OutputError as error:  # without it the next server only knows less
        click.echo(printable(f"warning: {error}"), err=True)


def _log() -> logging.Logger:
    """The log of aiohttp, without what others did wrong."""
    log = logging.getLogger("image_grounding.limit_server")
    log.addFilter(lambda record: not _is_theirs(record))
    return log


def _is_theirs(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return isinstance(error, HttpProcessingError | ConnectionError)
