# SPDX-License-Identifier: Apache-2.0
"""Scripts of ``scripts/`` run as users run them: a process with its own folder and environment.

Importing the SDKs takes a second of CPU, and the tests start hundreds of scripts. So each is a
fork of a server that has imported them already; what a start itself does is tested in
``test_scripts.py`` and ``test_bundle.py`` with processes that begin from nothing.
"""

import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import forkserver, reduction
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
_TOOLS = ("check", "evaluate", "export", "inspect", "merge", "run", "setup")
_STREAMS = ("in", "out", "err")

_FORKS = multiprocessing.get_context("forkserver")
# What these import only at their first request.
_LATE = (
    *("httpcore2", "h11", "truststore", "anyio._backends._asyncio", "omegaconf._impl"),
    *("image_grounding.launch", "image_grounding.teachers.vlm", "pkgutil", "encodings.utf_8_sig"),
    *("encodings.unicode_escape", "click._textwrap", "PIL.ImageOps"),
    *("numpy", "matplotlib.backends.backend_agg", "matplotlib.figure", "rich._emoji_codes"),
    *("questionary", "prompt_toolkit.input.vt100", "prompt_toolkit.output.vt100"),
    *("prompt_toolkit.key_binding.bindings.search", "rich.status", "encodings.idna"),
    *(f"PIL.{kind}ImagePlugin" for kind in ("Jpeg", "Png", "Bmp", "Gif", "Ppm", "WebP", "Avif")),
)
PRELOADED = [
    "support.uncollected",
    *(f"image_grounding.asking.endpoints.{name}" for name in ("openai", "gemini")),
    *(f"image_grounding.cli.{tool}" for tool in (*_TOOLS, "status", "make_input", "limit_server")),
    *(f"image_grounding.cli.work.{tool}" for tool in (*_TOOLS, "status", "limit_server")),
    *("image_grounding.run.status", "image_grounding.batch.journal"),
    "image_grounding.storage.web",
    *(f"image_grounding.setup.{part}" for part in ("checks", "existing", "models", "terminal")),
    *_LATE,
    *("support.scripts", "support.warm"),
]
_FORKS.set_forkserver_preload(PRELOADED)


def _start_server() -> None:
    """Start the server that scripts are forks of; it finds what it loads in PYTHONPATH alone."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(SCRIPTS), str(ROOT / "tests")])
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _fork(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    _start_server()
    # What a failing test leaves behind ends with the tests.
    process = _FORKS.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


@dataclass(frozen=True)
class Ran:
    """How a script ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)
        return value


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without keys, and with what a test adds."""
    kept = {k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_BASE_URL"))}
    return {**kept, "COLUMNS": "100", **extra}


def run_script(
    name: str | Path,
    *arguments: str,
    cwd: Path | None = None,
    timeout: float = 120,
    **environment: str,
) -> Ran:
    """Run a script of ``scripts/``, or another one by its path, from another folder."""
    if any(one.startswith("PYTHON") for one in environment):  # read when a Python begins
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / name), *arguments],
            cwd=str(cwd or "/"),
            env=clean_environment(**environment),
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        return Ran(done.returncode, done.stdout, done.stderr)
    with running_script(name, *arguments, cwd=cwd, **environment) as running:
        ran = running.wait(timeout)
        assert ran.code >= 0, f"{name} was killed, or did not end in {timeout} s: {ran.err}"
        return ran


@dataclass(frozen=True)
class Running:
    """A script at work, whose streams are files."""

    process: BaseProcess
    streams: Mapping[str, str]

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self.process.pid
        return self.process.pid

    def wait(self, timeout: float = 120) -> Ran:
        """Wait for its end, which is brought about after ``timeout`` seconds.

        The code is below 0 where a signal ended it.
        """
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        assert self.process.exitcode is not None
        out, err = (
            Path(self.streams[stream]).read_text(encoding="utf-8") for stream in ("out", "err")
        )
        return Ran(self.process.exitcode, out, err)


@contextlib.contextmanager
def running_script(
    name: str | Path,
    *arguments: str,
    cwd: Path | None = None,
    first: Callable[[], None] | None = None,
    **environment: str,
) -> Iterator[Running]:
    """Start a script of ``scripts/``; ``first`` is called in its process before it begins.

    The process hears the signals that a shell's would.
    """
    command = [str(SCRIPTS / name), *arguments]
    with tempfile.TemporaryDirectory() as streams:
        paths = {stream: os.path.join(streams, stream) for stream in _STREAMS}
        given = (command, str(cwd or "/"), clean_environment(**environment), paths, (), first)
        yield Running(_fork(_be, *given), paths)


class Started:
    """A script at work, as ``subprocess.Popen`` has it.

    Attributes:
        stdout: what it writes there.
        stderr: what it writes there.
    """

    def __init__(self, process: BaseProcess, stdout: IO[str], stderr: IO[str]) -> None:
        self._process = process
        self.stdout, self.stderr = stdout, stderr

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float = 60) -> int:
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"it did not end in {timeout} s"
        return self._process.exitcode

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        """All that it writes until it ends."""
        with ThreadPoolExecutor(2) as readers:
            out, err = (
                readers.submit(lambda stream=stream: "" if stream.closed else stream.read())
                for stream in (self.stdout, self.stderr)
            )
            try:
                self.wait(timeout)
            finally:
                self.kill()
        return out.result(), err.result()


def start_script(name: str | Path, *arguments: str, **environment: str) -> Started:
    """Start a script of ``scripts/``, or another one by its path, from another folder."""
    reading, writing = zip(os.pipe(), os.pipe(), strict=True)
    command = [str(SCRIPTS / name), *arguments]
    streams = [_Descriptor(number) for number in writing]
    process = _fork(_be_started, command, clean_environment(**environment), streams)
    for number in writing:
        os.close(number)
    out, err = (os.fdopen(number, encoding="utf-8") for number in reading)
    return Started(process, out, err)


@dataclass(frozen=True)
class _Descriptor:
    """A descriptor that a fork gets along with its arguments."""

    number: int

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _detached, (reduction.DupFd(self.number),)


def _detached(passed: Any) -> int:
    number: int = passed.detach()
    return number


def _be_started(command: list[str], variables: Mapping[str, str], streams: list[int]) -> None:
    """Become the script, whose output goes to descriptors."""
    out, err = (f"/proc/self/fd/{number}" for number in streams)
    _be(command, "/", variables, {"in": os.devnull, "out": out, "err": err}, streams)


def start_at_terminal(
    name: str, *arguments: str, terminal: int, out: Path, cwd: Path, **environment: str
) -> BaseProcess:
    """Start a script whose stdin and stderr are a pseudo-terminal, and whose stdout is a file.

    Args:
        name: of the script.
        arguments: of the script.
        terminal: descriptor of the terminal's end for programs; it is closed once the script
            has opened its own.
        out: the file.
        cwd: the current folder.
        environment: what is added to the environment.
    """
    command = [str(SCRIPTS / name), *arguments]
    paths = {"in": os.ttyname(terminal), "out": str(out), "err": os.ttyname(terminal)}
    variables = clean_environment(**environment)
    process = _fork(_be_at_terminal, command, str(cwd), variables, paths)
    while not out.exists() and process.is_alive():  # stdin is opened before stdout
        time.sleep(0.005)
    os.close(terminal)
    return process


def _be_at_terminal(
    command: list[str], folder: str, variables: Mapping[str, str], paths: Mapping[str, str]
) -> None:
    """Become the script, in a fork that a terminal's Ctrl-C reaches."""
    os.setsid()  # the next terminal that is opened is its own
    _be(command, folder, variables, paths)


def _be(
    command: list[str],
    folder: str,
    variables: Mapping[str, str],
    paths: Mapping[str, str],
    passed: Sequence[int] = (),
    first: Callable[[], None] | None = None,
) -> None:
    """Become the script, in a fork that signals reach, whatever the tests' own start ignores.

    Descriptors that were passed are not left open; ``first`` is called before the script.
    """
    # The server passes over what it cannot import, which would make each start slow.
    assert all(name in sys.modules for name in PRELOADED)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    for number, stream in enumerate(_STREAMS):
        flags = os.O_CREAT | (os.O_WRONLY if number else os.O_RDONLY)
        opened = os.open(paths[stream], flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    for descriptor in passed:
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = command
    here = {str(ROOT), str(ROOT / "tests")}
    sys.path[:] = [str(SCRIPTS), *(path for path in sys.path if path not in here)]
    if first:
        first()
    runpy.run_path(command[0], run_name="__main__")
