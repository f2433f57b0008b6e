# SPDX-License-Identifier: Apache-2.0
"""The setup wizard in a real pseudo-terminal, its screen read as a person would."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pexpect
import pyte

from conftest import SCRIPTS, clean_environment

CLEAR = "\x15"  # Ctrl-U
ROWS, COLUMNS = 80, 150


class Wizard:
    """``setup_wizard.py`` with stdin and stderr on a terminal, and stdout in a file."""

    def __init__(self, folder: Path, *flags: str, **environment: str) -> None:
        self._stdout = folder / "stdout.json"
        script = str(SCRIPTS / "setup_wizard.py")
        self._screen = pyte.HistoryScreen(COLUMNS, ROWS, history=1000)
        self._stream = pyte.Stream(self._screen)
        self.typed_out = ""
        self._child = pexpect.spawn(
            "/bin/sh",
            ["-c", f'exec "$0" "$@" > {self._stdout}', sys.executable, script, *flags],
            cwd=str(folder),
            env=clean_environment(
                PROMPT_TOOLKIT_NO_CPR="1", TERM="xterm-256color", **environment
            ),
            dimensions=(ROWS, COLUMNS),
            encoding="utf-8",
            timeout=20,
        )

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def sees(self, text: str, seconds: float = 20) -> None:
        """Wait until ``text`` is on the screen below what was last seen."""
        until = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < until, f"no {text!r} on the screen:\n{self.text}"
            self._read()

    def _read(self) -> None:
        try:
            found = self._child.read_nonblocking(100_000, 0.05)
        except pexpect.TIMEOUT:
            return
        self.typed_out += found
        self._stream.feed(found)

    def answer(self, question: str, keys: str = "") -> None:
        """Wait for a question, type, press Enter."""
        self.sees(question)
        self._child.send(keys + "\r")

    def press(self, keys: str) -> None:
        self._child.send(keys)

    def end(self) -> int:
        """Wait for the end; the exit code."""
        try:
            while True:
                self._read()
        except pexpect.EOF:
            self._child.close()
        return int(self._child.exitstatus)

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self._stdout.read_text())
        return value
