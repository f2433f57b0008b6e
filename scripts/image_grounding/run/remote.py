# SPDX-License-Identifier: Apache-2.0
"""Results at an address: made in a folder on this machine, and sent while the run is at work."""

import atexit
import contextlib
import json
import os
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from image_grounding.errors import InputError, OutputError, StoreError
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.run_state import Process, now_text
from image_grounding.results.segments import MOST_BYTES
from image_grounding.spec import Spec
from image_grounding.storage.mirror import LOCK_NAME, Mirror, problem_with_results_at

# A segment is sent whole each time that it has grown.
_SEGMENT_BYTES = 1 << 23
_SEND_EVERY_S = 5.0
# A run elsewhere that has written nothing for so long has died.
_BELIEVED_S = 120.0
# Two runs that take over at the same moment have both written after this time.
_SETTLED_S = 1.0


def folder_of(spec: Spec) -> ResultsFolder:
    """The results of a run, where it makes them."""
    return ResultsFolder(spec.results_dir, _SEGMENT_BYTES if spec.results_url else MOST_BYTES)


@contextlib.contextmanager
def results_there(spec: Spec, say: Callable[[str], None]) -> Iterator[None]:
    """In the block a run has what is kept at ``results_url``, and what it makes is sent there.

    Raises:
        OutputError: another run is at work there, or the store does not take what is written.
    """
    if not spec.results_url:
        yield
        return
    mirror = Mirror(spec.results_url, spec.results_dir)
    with _cannot(), _Lock(mirror) as lock:
        try:
            shutil.rmtree(spec.results_dir, ignore_errors=True)  # what a killed run left
            spec.results_dir.mkdir(parents=True)
        except OSError as error:
            message = f"cannot write to {spec.results_dir}: {error.strerror or error}"
            raise OutputError(message) from None
        with contextlib.suppress(FileNotFoundError):  # no such bucket: it is met when writing
            mirror.fetch()
        with _sending(mirror, lock, say):
            yield


@contextlib.contextmanager
def results_to_look_at(spec: Spec) -> Iterator[Spec]:
    """In the block a spec whose ``results_dir`` holds what is kept at ``results_url``."""
    yield replace(spec, results_dir=pulled(spec.results_url)) if spec.results_url else spec


def pulled_results(address: str) -> Path:
    """As ``pulled``, for an address that a user gives.

    Raises:
        InputError: nothing can be kept there, or the store does not give it.
    """
    if problem := problem_with_results_at(address):
        raise InputError(problem)
    return pulled(address)


_pulled: dict[Path, Mirror] = {}


def pulled(address: str) -> Path:
    """A folder with what is kept at an address, for as long as this process lives.

    Raises:
        InputError: the store does not give it.
    """
    folder = Path(tempfile.mkdtemp(prefix="image-grounding-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _pulled[folder] = Mirror(address, folder)
    pull_again(folder)
    return folder


def pull_again(folder: Path) -> None:
    """Bring a folder of ``pulled`` up to date; any other is left alone."""
    if mirror := _pulled.get(folder):
        try:
            mirror.fetch()
        except FileNotFoundError:
            raise InputError(f"no such results: {mirror.address}") from None
        except StoreError as error:
            raise InputError(f"cannot read the results: {error}") from None


def address_of(folder: Path) -> str | None:
    """The address that a folder was pulled from; None for any other."""
    mirror = _pulled.get(folder)
    return mirror.address if mirror else None


@contextlib.contextmanager
def _cannot() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise OutputError(f"cannot write the results: {error}") from None


@contextlib.contextmanager
def _sending(mirror: Mirror, lock: "_Lock", say: Callable[[str], None]) -> Iterator[None]:
    """Send what changes while the block is at work, and all of it at the end, however it ends."""
    over = threading.Event()

    def keep_sending() -> None:
        troubled = False
        while not over.wait(_SEND_EVERY_S):
            try:
                lock.renew()
                mirror.send()
                troubled = False
            except StoreError as error:
                if not troubled:
                    say(f"{error}; the run goes on, and sends it later")
                troubled = True
            except OutputError as error:  # another run has taken over
                say(str(error))
                os.kill(os.getpid(), signal.SIGINT)
                return

    thread = threading.Thread(target=keep_sending, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        try:
            lock.renew()
            mirror.send()
        except StoreError as error:
            message = f"cannot write the results: {error}. They are whole in {mirror.folder}"
            raise OutputError(f"{message} until the next run") from None
        shutil.rmtree(mirror.folder, ignore_errors=True)


class _Lock:
    """An object that keeps other runs out, and says from time to time that its run is alive."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._mark = uuid.uuid4().hex

    def __enter__(self) -> "_Lock":
        # Looked at in any case: not every store knows what "new" means.
        if _is_alive(self._holder()):
            raise self._held()
        if not self._mirror.write(LOCK_NAME, self._text(), new=True):
            if _is_alive(self._holder()):
                raise self._held()
            self._mirror.write(LOCK_NAME, self._text())
            time.sleep(_SETTLED_S)
            if self._holder().get("mark") != self._mark:
                raise self._held()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(StoreError):  # then it is the next run's to see that we are gone
            if self._holder().get("mark") == self._mark:
                self._mirror.remove(LOCK_NAME)

    def renew(self) -> None:
        """Say that this run is alive.

        Raises:
            OutputError: another run has taken over.
            StoreError: the store does not take it.
        """
        if self._holder().get("mark") != self._mark:
            raise self._held()
        self._mirror.write(LOCK_NAME, self._text())

    def _text(self) -> bytes:
        process = asdict(Process.this())
        return json.dumps({"mark": self._mark, "updated": now_text(), "process": process}).encode()

    def _holder(self) -> dict[str, Any]:
        try:
            found = json.loads(self._mirror.read(LOCK_NAME) or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _held(self) -> OutputError:
        return OutputError(
            f"another run is writing to {self._mirror.address}; wait for it or choose another "
            "results_dir"
        )


def _is_alive(holder: dict[str, Any]) -> bool:
    """Whether the run that a lock is of may still be at work."""
    try:
        process = Process(**holder["process"])
        silent = datetime.now(UTC) - datetime.fromisoformat(holder["updated"])
        alive = process.is_alive()
    except (LookupError, TypeError, ValueError):
        return False
    return silent.total_seconds() < _BELIEVED_S if alive is None else alive
