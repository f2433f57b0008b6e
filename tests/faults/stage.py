# SPDX-License-Identifier: Apache-2.0
"""Where a fault is injected: two good samples, an endpoint with a key, and a folder for all."""

import atexit
import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from support.loopback import Answer, Call, Loopback
from support.scenes import make_scene
from support.scripts import Ran, Running, running_script

KEY = "secret-of-the-matrix-7d1f40c29b"
BYSTANDER, VICTIM = "bystander.png", "victim.png"
GOOD = (BYSTANDER, VICTIM)
_CAPTION = {name: make_scene((64, 48), seed, 2).caption for seed, name in enumerate(GOOD)}
T = TypeVar("T")
_TIME = 1_700_000_000


class Stage:
    """``with Stage(folder, backend) as stage: fault.inject(stage); stage.run()``.

    Attributes:
        folder: everything is in here.
        backend: ``openai`` or ``gemini``.
        server: the endpoint; it wants ``KEY``.
        rows: the good lines of the input.
        lines: the lines as they are, each without its end.
        ending: of every line.
        more: arguments of the faulty run.
        environment: what the faulty run finds besides.
        first: called in the process of the faulty run before it begins.
        rules: what the endpoint answers in place of the model; the first that is no None counts.
        asked: requests of the latest run, probes among them.
        key_seen: command lines of the machine that held the key when the endpoint was asked.
        strangers: servers that nothing may be sent to.
    """

    def __init__(self, folder: Path, backend: str = "openai") -> None:
        self.folder, self.backend = folder, backend
        self.pictures, self.results = folder / "pictures", folder / "results"
        self.input = folder / "input.jsonl"
        self.server = Loopback(key=KEY)
        self.rows: list[dict[str, Any]] = [
            {"image_path": name, "caption": caption} for name, caption in _CAPTION.items()
        ]
        for name in ("pictures", "home", "tmp"):
            (folder / name).mkdir()
        self.asked, self.key_seen = 0, list[str]()
        self.strangers: list[Loopback] = []
        self.outside: dict[str, str] = {}
        self._stack = contextlib.ExitStack()
        self._kept: dict[str, contextlib.ExitStack] = {}
        self._process: Running | None = None
        self.mend()

    def __enter__(self) -> "Stage":
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self.server.__exit__()

    def mend(self) -> None:
        """Good input, good pictures, a good endpoint, nothing besides."""
        self.lines: list[bytes] = [json.dumps(row).encode() for row in self.rows]
        self.ending = b"\n"
        self.more: list[str] = []
        self.environment: dict[str, str] = {}
        self.server.refused = {}
        self.first: Callable[[], None] | None = None
        self.rules: list[Callable[[Call], Answer | None]] = []
        for name in GOOD:
            path = self.pictures / name
            if not path.is_file() or path.read_bytes() != good_picture(name):
                remove(path)
                path.write_bytes(good_picture(name))
                os.utime(path, (_TIME, _TIME))
        self.write_input()

    def write_input(self) -> None:
        """Write ``lines``."""
        remove(self.input)
        self.input.write_bytes(b"".join(line + self.ending for line in self.lines))

    def add(self, line: bytes | str | dict[str, Any]) -> None:
        """One more line: bytes or a text as they are, or fields beside those of the victim."""
        if isinstance(line, dict):
            line = json.dumps({**self.rows[-1], **line})
        self.lines.append(line.encode() if isinstance(line, str) else line)
        self.write_input()

    def is_victim(self, call: Call) -> bool:
        """Whether the victim is asked about, and nobody else."""
        return call.image == good_picture(VICTIM)

    def at(self, number: int, act: Callable[["Stage"], None]) -> None:
        """Do something when the endpoint is asked for the ``number``-th time, from 0 on."""

        def rule(call: Call) -> None:
            if self.asked == number + 1:
                act(self)
                self.outside = self.look_around()

        self.rules.append(rule)

    def signal(self, number: int) -> None:
        """Send a signal to the run that is at work."""
        assert self._process
        os.kill(self._process.pid, number)

    def wait_for(self, words: str) -> None:
        """Wait until the run that is at work says something on stderr."""
        assert self._process
        while words not in Path(self._process.streams["err"]).read_text():
            time.sleep(0.01)

    def keep(self, name: str, context: AbstractContextManager[T]) -> T:
        """Enter a context manager, until ``drop`` or the end of the test."""
        self._kept[name] = stack = self._stack.enter_context(contextlib.ExitStack())
        return stack.enter_context(context)

    def drop(self, name: str) -> None:
        """Leave a context manager."""
        self._kept.pop(name).close()

    def command(self) -> list[str]:
        """The arguments of a run."""
        given = [
            f"results_dir={self.results}", f"data.input_jsonl={self.input}",
            f"data.image_root={self.pictures}", f"vlm.backend={self.backend}",
            "vlm.coordinates=norm1000_xyxy", "workflow.max_attempts=2", "workflow.max_workers=2",
        ]  # fmt: skip
        if self.backend == "gemini":
            given += ["vlm.gemini.model=test-vlm", f"vlm.gemini.base_url={self.server.gemini_url}"]
        else:
            given += [
                f"vlm.openai.base_url={self.server.base_url}",
                "vlm.openai.model_name=test-vlm",
            ]
            given += ["vlm.openai.api_key='${oc.env:MATRIX_KEY}'"]
        return [*given, *self.more]

    def run(self) -> Ran:
        """Run the script to its end."""
        variables = {
            "HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "tmp"),
            "GOOGLE_API_KEY": KEY, "MATRIX_KEY": KEY,
            **self.environment,
        }  # fmt: skip
        (self.folder / "here").mkdir(exist_ok=True)
        self.asked = 0
        self.server.fault = self._respond
        self.outside = self.look_around()
        with running_script(
            "run_pipeline.py",
            *self.command(),
            cwd=self.folder / "here",
            first=self.first,
            **variables,
        ) as self._process:
            return self._process.wait(30)

    def look_around(self) -> dict[str, str]:
        """Every file of the folder that is not below results, with a digest of what it holds."""
        found = {}
        left_out = {self.results, self.results.resolve(), self.folder / "here"}
        for path in self.folder.rglob("*"):
            if path.parent == self.folder / "here" or not left_out & {path, *path.parents}:
                found[str(path)] = hashlib.sha256(held_by(path)).hexdigest()
        return found

    def finish(self) -> None:
        """Have the results of a run that went well, and the replies that it read."""
        results, replies = _finished(self.backend)
        shutil.copytree(results, self.results)
        self.server.replies += replies

    def clean_results(self) -> Path:
        """The results of a run that went well."""
        return _finished(self.backend)[0]

    def _respond(self, call: Call) -> Answer | None:
        with self.server.lock:
            self.asked += 1
        if call.is_probe:
            self.key_seen += [line for line in _command_lines() if KEY in line]
        return next((answer for rule in self.rules if (answer := rule(call))), None)


@cache
def good_picture(name: str) -> bytes:
    """A picture of the stage."""
    buffer = io.BytesIO()
    make_scene((64, 48), GOOD.index(name), 2).draw().save(buffer, "PNG")
    return buffer.getvalue()


def held_by(path: Path) -> bytes:
    """The content of a file; of one that is none, or large, nothing."""
    plain = path.is_file() and not path.is_symlink() and path.stat().st_size < 50_000_000
    return path.read_bytes() if plain else b""


def remove(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@cache
def _finished(backend: str) -> tuple[Path, list[tuple[Call, str]]]:
    """A results folder of both samples, made once, and the replies that it was made from."""
    folder = Path(_stack().enter_context(tempfile.TemporaryDirectory()))
    with Stage(folder, backend) as stage:
        ran = stage.run()
        assert ran.code == 0, ran.err
        return stage.results, stage.server.replies


@cache
def _stack() -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack


def _command_lines() -> Iterator[str]:
    """What ``ps`` shows of every process."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes().decode("utf-8", "replace")
