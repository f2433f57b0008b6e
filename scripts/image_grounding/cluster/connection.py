# SPDX-License-Identifier: Apache-2.0
"""Ray: started here or found at an address, the workers in it, and calls of them.

This is the only module that knows Ray, which is imported when it is first needed.
"""

import asyncio
import contextlib
import logging
import math
import os
import pickle
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from image_grounding.cluster.actor import actor_class
from image_grounding.cluster.trouble import WorkerError
from image_grounding.errors import ClusterError

# Shared memory of a Ray of our own: nothing large passes through it.
_STORE_BYTES = 100_000_000
# More calls than a run ever has under way.
_AT_ONCE = 10_000
_CONNECT_S = 10.0
# What comes between the end of the waiting and that of the process.
_IN_ORDER_S = 600
_REMEDY = (
    "see with ray status on this machine whether it is there; Ray and Python must have the "
    "versions of the cluster, and where it wants a token, RAY_AUTH_MODE=token must be set here, too"
)
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What Ray names the cluster that a process belongs to, as in a job that was submitted to it.
_ADDRESS_VARIABLE = "RAY_ADDRESS"


class WorkerGoneError(Exception):
    """A worker has ended, or its node has, or it cannot be reached."""


class WorkerBrokenError(Exception):
    """A worker is there and cannot do its work; its text says why."""


@dataclass(frozen=True)
class RayOptions:
    """Where the workers are.

    Attributes:
        address: of a cluster, or None for Ray's own variable, else one on this machine.
        workers: how many, or None for one a CPU.
        wait_s: for so many seconds there may be none.
    """

    address: str | None = None
    workers: int | None = None
    wait_s: float = 60.0

    @property
    def cluster(self) -> str:
        """Address of a cluster that is there already, or empty."""
        found = self.address or os.environ.get(_ADDRESS_VARIABLE, "")
        return "" if found == "local" else found


class Connection:
    """This process's part in a cluster.

    Ray is started and stopped by a thread that lives as long as it does: the processes that it
    starts end with the thread that started them, and only the main thread would lose its handlers
    of signals to it.

    Args:
        options: where the workers are.
        say: takes messages.
    """

    def __init__(self, options: RayOptions, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    async def open(self) -> list[Any]:
        """Connect; the workers, which begin to start.

        Raises:
            ClusterError: there is no such cluster.
        """
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[list[Any]] = loop.create_future()

        def settle(found: list[Any] | None, error: Exception | None) -> None:
            if opened.done():  # nobody waits any more
                return
            if error:
                opened.set_exception(error)
            else:
                opened.set_result(found or [])

        def live() -> None:
            found, problem = None, None
            try:
                found = self._connect()
            except Exception as error:
                problem = self._unreachable(error)
            with contextlib.suppress(RuntimeError):  # the loop is over
                loop.call_soon_threadsafe(settle, found, problem)
            if found is not None:
                self._over.wait()
            _shut_down()

        self._thread = threading.Thread(target=live, name="ray", daemon=True)
        self._thread.start()
        return await opened

    def _connect(self) -> list[Any]:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        logging.getLogger("ray").setLevel(logging.CRITICAL)
        quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        wanted, cluster = self._options.workers, self._options.cluster
        if cluster:
            _require_listener(cluster)
            # Ray would end this process a minute after the cluster's head; the run ends in order.
            patience = math.ceil(self._options.wait_s) + _IN_ORDER_S
            os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(patience))
            code = {"py_modules": [_PACKAGE], "excludes": ["__pycache__"]}
            ray.init(address=cluster, runtime_env=code, **quiet)
        else:
            cpus = max(wanted or 0, os.cpu_count() or 1)
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                **quiet,
            )
        cpus = int(ray.cluster_resources().get("CPU", 0))
        count = wanted or max(cpus, 1)
        if count > cpus:
            self._say(
                f"the cluster has {cpus} CPUs for {count} workers of Ray; going on with those that "
                "find one"
            )
        options = {
            "num_cpus": 1,
            "max_restarts": -1,
            "max_task_retries": 0,
            "max_concurrency": _AT_ONCE,
            "scheduling_strategy": "SPREAD",
        }
        actor = ray.remote(**options)(actor_class())
        return [actor.remote() for _ in range(count)]

    def _unreachable(self, error: Exception) -> ClusterError:
        why = str(error).strip().partition("\n")[0][:300] or type(error).__name__
        if self._options.cluster:
            return ClusterError(
                f"cannot use the Ray cluster at {self._options.cluster}: {why}", remedy=_REMEDY
            )
        return ClusterError(f"cannot start Ray on this machine: {why}")

    async def begin(self, actor: Any, settings: bytes) -> None:
        """Tell a worker its work.

        The settings hold the key: they go from process to process as the argument of a call, which
        Ray writes nowhere, while it keeps what an actor is made with.

        Raises:
            WorkerBrokenError: it cannot do it.
            WorkerGoneError: it is not there.
        """
        from ray.exceptions import RayError, RayTaskError, RuntimeEnvSetupError

        code = "" if self._options.cluster else os.path.dirname(_PACKAGE)
        try:
            await actor.begin.remote(code, os.getcwd(), settings)
        except RayTaskError as error:
            cause = error.cause
            raise WorkerBrokenError(f"{type(cause).__name__}: {cause}"[:300]) from None
        except RuntimeEnvSetupError as error:
            raise WorkerBrokenError(str(error).strip().partition("\n")[0][:300]) from None
        except RayError as error:
            raise WorkerGoneError(type(error).__name__) from None

    async def call(self, actor: Any, method: str, *arguments: Any) -> Any:
        """What a worker answers; None where it does not know its work.

        Raises:
            WorkerError: it failed with what is no error of ours.
            WorkerGoneError: it ended before it answered.
        """
        from ray.exceptions import RayError, RayTaskError

        try:
            answer = await actor.call.remote(pickle.dumps((method, arguments)))
        except RayTaskError as error:
            cause = error.cause
            raise WorkerError(f"{type(cause).__name__}: {cause}"[:300]) from None
        except RayError as error:
            raise WorkerGoneError(type(error).__name__) from None
        return None if answer is None else pickle.loads(answer)

    async def close(self) -> None:
        """Let the workers go, and a Ray of our own end."""
        self._over.set()
        if self._thread:
            await asyncio.to_thread(self._thread.join)


def _shut_down() -> None:
    import ray

    with contextlib.suppress(Exception):
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Ray itself would try for a long time; raises OSError where nothing listens."""
    host, colon, port = address.rpartition(":")
    if "://" in address:
        raise ValueError(
            "give host:port or auto, on a node of the cluster or in a job of ray job submit"
        )
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), _CONNECT_S).close()
