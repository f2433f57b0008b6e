# SPDX-License-Identifier: Apache-2.0
"""One quota for several processes: a book of when what has not been given out yet begins.

A quota is an even flow in time. A process leases the next piece of it, some units from a moment
on, and sends each at its own moment. No two pieces are of the same time, and what is not sent
passes by unused. So one that is killed takes no more with it than its piece, a tenth of a second.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import filelock

from image_grounding.errors import OutputError, SharedLimitError
from image_grounding.files import strict_json, to_json, write_atomic

# Of a quota, what is given out: the rest is for requests that reach the endpoint a little late.
SHARE = 0.98
# A moment that has passed may be used for so long.
LATEST_S = 0.25
# So much of what passed by unused is given out late; by the rest it may be late on its way, too.
BACK_S = LATEST_S / 2
# A lease ends after so long, or holds what one request takes.
LEASE_S = 0.1
# For so long leases are waited for before a run ends.
PATIENCE_S = 120.0
# Other runs count as gone when what they leased passed by so long ago.
GONE_S = 60.0
# What begins later, and later than so many leases take, was written by a clock that has been set
# back since.
_FARTHEST_S, _MOST_LEASES = 600.0, 1000
_POLL_S = 0.005
# Who has waited for less says nothing of it.
_SHOWN_S = 1.0


@dataclass
class Flow:
    """A quota in the book.

    Attributes:
        per_minute: units.
        next: when what has not been given out begins, in seconds of the book's clock.
    """

    per_minute: float
    next: float

    def seconds(self, units: float) -> float:
        """How long the flow takes for so many units."""
        return units * 60 / (self.per_minute * SHARE)

    def piece(self, units: float, now: float) -> tuple[float, float]:
        """Begin and end of what is next, so many units long."""
        seconds = self.seconds(units)
        start = max(self.next, now - BACK_S)
        if start > now + max(_FARTHEST_S, _MOST_LEASES * seconds):
            start = now
        return start, start + seconds

    def lease(self, units: float, now: float) -> float:
        """Give out so many units; when the first of them may be used."""
        start, self.next = self.piece(units, now)
        return start

    def is_idle(self, now: float) -> bool:
        """Whether nobody has used it for a while."""
        return self.next < now - GONE_S


def read_flows(path: Path) -> dict[str, Flow]:
    """The flows of a book in a file; none where there is no file.

    Raises:
        SharedLimitError: it is a file of something else.
        OSError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        text = "no text"
    try:
        plain = strict_json(text)["flows"] if text.strip() else {}
        return {str(name): _flow(entry) for name, entry in plain.items()}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        message = f"{path} is no file of shared limits; name one that is not there yet"
        raise SharedLimitError(message) from None


def write_flows(path: Path, flows: Mapping[str, Flow]) -> None:
    """Write a book whole; raises OutputError where that is impossible."""
    plain = {name: asdict(flow) for name, flow in flows.items()}
    write_atomic(path, to_json({"flows": plain}) + "\n")


def disagreement(name: str, kept: float, wanted: float, where: object) -> SharedLimitError:
    """What to raise where other runs keep to another quota of this name."""
    return SharedLimitError(
        f"other runs keep to {kept:g} {name} a minute in {where}, and this one is to keep to "
        f"{wanted:g}"
    )


def waiting_text(words: str, since: float | None) -> str:
    """``words`` and for how long that has been so; empty where it is not worth a word.

    Args:
        words: as ``waiting for something for``.
        since: a moment of the monotonic clock; None while nobody waits.
    """
    seconds = 0.0 if since is None else time.monotonic() - since
    return f"{words} {seconds:.0f} s" if seconds >= _SHOWN_S else ""


class Leases(Protocol):
    """Where leases are had."""

    @property
    def waiting(self) -> str:
        """While no leases are to be had: for what it waits, and for how long; else empty."""
        ...

    async def lease(self, name: str, per_minute: float, units: float, owed: float = 0.0) -> float:
        """Lease units of the quota ``name``.

        Args:
            name: of the quota.
            per_minute: units of all processes together.
            units: to be used.
            owed: units that were used already, beyond what was leased for them.

        Returns:
            When the first of ``units`` may be used, in seconds of the monotonic clock.

        Raises:
            SharedLimitError: there are none to be had.
        """
        ...

    async def close(self) -> None:
        """No more of them."""
        ...


class LeaseFile:
    """Leases from a small file that all processes see.

    Args:
        path: the file; made where it is not there. Beside it lies ``<name>.lock``.
        clock: seconds; the same one in all processes.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = filelock.FileLock(
            f"{path}.lock", timeout=PATIENCE_S, poll_interval=_POLL_S, thread_local=False
        )
        self._thread = ThreadPoolExecutor(1, "leases")
        self._since: float | None = None

    @property
    def waiting(self) -> str:
        """See ``Leases.waiting``."""
        return waiting_text("waiting for the lock of the shared limit file for", self._since)

    async def lease(self, name: str, per_minute: float, units: float, owed: float = 0.0) -> float:
        """See ``Leases.lease``; the file may be slow, and the event loop goes on meanwhile."""
        from asyncio import get_running_loop

        loop = get_running_loop()
        return await loop.run_in_executor(self._thread, self._lease, name, per_minute, units, owed)

    async def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False)

    def _lease(self, name: str, per_minute: float, units: float, owed: float) -> float:
        ahead = self.lease_now(name, per_minute, units, owed)
        return time.monotonic() + ahead

    def lease_now(self, name: str, per_minute: float, units: float, owed: float = 0.0) -> float:
        """As ``lease``; in how many seconds the first unit may be used."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._since = time.monotonic()
            with self._lock:
                self._since = None
                flows = read_flows(self._path)
                now = self._clock()
                flow = flows.get(name)
                if flow is None or (flow.per_minute != per_minute and flow.is_idle(now)):
                    flow = flows[name] = Flow(per_minute, now)
                if flow.per_minute != per_minute:
                    raise disagreement(name, flow.per_minute, per_minute, self._path)
                start = flow.lease(owed + units, now) + flow.seconds(owed)
                write_flows(self._path, flows)
                return start - now
        except filelock.Timeout:
            raise SharedLimitError(
                f"{self._path} was locked by another process for {PATIENCE_S:.0f} s"
            ) from None
        except OutputError as error:
            raise SharedLimitError(str(error)) from None
        except OSError as error:
            message = f"cannot write {self._path}: {error.strerror or error}"
            raise SharedLimitError(message) from None
        finally:
            self._since = None


def _flow(plain: Any) -> Flow:
    flow = Flow(float(plain["per_minute"]), float(plain["next"]))
    if not flow.per_minute > 0:
        raise ValueError
    return flow
