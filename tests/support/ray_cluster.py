# SPDX-License-Identifier: Apache-2.0
"""A small cluster of Ray on this machine, and what runs in it."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

STORE = 100_000_000
WORKER = "ray::ImageGroundingWorker"


def descendants(pid: int) -> dict[int, str]:
    """The processes that a process, or one of its own, has started: their command lines."""
    parents, found = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                status = (folder / "stat").read_text().rpartition(")")[2].split()
                if status[0] == "Z":
                    continue
                parents[int(folder.name)] = int(status[1])
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return {child: found[child] for child in below & found.keys() if child != pid}


def workers_below(pid: int) -> list[int]:
    """Our workers among them, of idle ones Ray's name is another."""
    return [child for child, line in descendants(pid).items() if line.startswith(WORKER)]


def kill_workers(pid: int) -> None:
    """End all workers with -9."""
    for worker in workers_below(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def kill_a_worker_that_asks(pid: int, port: int) -> None:
    """End with -9 a worker that is connected to a port; one that only begins holds nothing yet."""
    worker = next(worker for worker in workers_below(pid) if _is_connected(worker, port))
    os.kill(worker, signal.SIGKILL)


def _is_connected(pid: int, port: int) -> bool:
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    sockets = {f"socket:[{entry[9]}]" for entry in fields if entry[2].endswith(f":{port:04X}")}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(descriptor) in sockets:
                return True
    return False


@dataclass(frozen=True)
class Cluster:
    """A head without other nodes.

    Attributes:
        pid: of the process that started it.
        address: for runs.
        folder: of its sessions.
        environment: with its token, for runs.
    """

    pid: int
    address: str
    folder: Path
    environment: Mapping[str, str]

    @property
    def options(self) -> tuple[str, ...]:
        return ("--engine", "ray", "--ray-address", self.address)

    def kill(self) -> None:
        """End all of it; in peace that would take half a minute."""
        for pid in (self.pid, *descendants(self.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def sessions_folder() -> Iterator[Path]:
    """A folder for Ray's sessions, whose sockets have long names of at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as name:
        yield Path(name)


@contextlib.contextmanager
def ray_cluster(cpus: int = 2) -> Iterator[Cluster]:
    """Start it with Ray's own command; at the end nothing of it is left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with sessions_folder() as folder:
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--node-ip-address=127.0.0.1", f"--port={port}", f"--num-cpus={cpus}"),
            *("--include-dashboard=false", f"--object-store-memory={STORE}"),
            *("--disable-usage-stats", f"--temp-dir={folder}"),
        ]
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        head = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **token}
        )
        assert head.stdout
        cluster = Cluster(head.pid, f"127.0.0.1:{port}", folder, token)
        try:
            seen = b""
            while b"--block" not in seen:  # its last words before it waits
                line = head.stdout.readline()
                assert line, seen
                seen += line
            yield cluster
        finally:
            cluster.kill()
            head.wait()
            head.stdout.close()
