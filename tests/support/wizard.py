# SPDX-License-Identifier: Apache-2.0
"""The setup wizard in a real pseudo-terminal, its screen read as a person would."""

import contextlib
import json
import os
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect.fdpexpect
import pyte
from click.testing import CliRunner

from image_grounding.cli.setup import setup_command
from support.scripts import Ran, clean_environment, start_at_terminal

CLEAR = "\x15"  # Ctrl-U
ROWS, COLUMNS = 40, 120


def run_wizard(folder: Path, *flags: str, **environment: str) -> Ran:
    """The wizard off a terminal, in this process: a new one takes half a second to start."""
    removed = dict.fromkeys(os.environ.keys() - clean_environment().keys())
    with contextlib.chdir(folder):
        done = CliRunner().invoke(setup_command, flags, env={**removed, **environment})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ran(done.exit_code, done.stdout, done.stderr)


class Wizard:
    """``setup_wizard.py`` with stdin and stderr on a terminal, and stdout in a file."""

    def __init__(self, folder: Path, *flags: str, **environment: str) -> None:
        self._stdout = folder / "stdout.json"
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.Stream(self._screen)
        self._lines = [""] * ROWS
        self.output = ""
        mine, terminal = os.openpty()
        termios.tcsetwinsize(mine, (ROWS, COLUMNS))
        self._process = start_at_terminal(
            "setup_wizard.py",
            *flags,
            terminal=terminal,
            out=self._stdout,
            cwd=folder,
            **{"PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm-256color", **environment},
        )
        self._child = pexpect.fdpexpect.fdspawn(mine, encoding="utf-8", timeout=20)
        self._child.delaybeforesend = None

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self._display())

    def _display(self) -> list[str]:
        """The lines of the screen; those that changed are put together anew."""
        for row in self._screen.dirty:
            cells = self._screen.buffer[row]
            self._lines[row] = "".join(cells[column].data for column in range(COLUMNS))
        self._screen.dirty.clear()
        return self._lines

    def sees(self, text: str) -> None:
        """Wait until ``text`` is on the screen."""
        self._wait(text, lambda: text in self.text)

    def sees_no_more(self, text: str) -> None:
        """Wait until ``text`` is gone from the screen."""
        self._wait(f"screen without {text}", lambda: text not in self.text)

    def _wait(self, text: str, there: Callable[[], bool]) -> None:
        until = time.monotonic() + 20
        while not there():
            over = time.monotonic() > until or not self._read()
            assert not over or there(), f"no {text!r} on the screen:\n{self.text}"

    def _is_asked(self, question: str) -> bool:
        """Whether it waits for this answer now, and not only did so before."""
        row = self._screen.cursor.y
        return any(
            question in line and ("(Use arrow keys" in line or row - number in (0, 1))
            for number, line in enumerate(self._display())
        )

    def _read(self) -> bool:
        """Take in what there is; False where there will be no more."""
        try:
            found = self._child.read_nonblocking(100_000, 0.5)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.output += found
        self._stream.feed(found)
        return True

    def answer(self, question: str, keys: str = "") -> None:
        """Wait for a question, type, press Enter."""
        self._wait(question, lambda: self._is_asked(question))
        self._child.send(keys + "\r")

    def press(self, keys: str) -> None:
        self._child.send(keys)

    def end(self) -> int:
        """Wait for the end; the exit code."""
        until = time.monotonic() + 60
        while self._read():
            assert time.monotonic() < until, f"it does not end:\n{self.text}"
        self._child.close()
        self._process.join()
        return int(self._process.exitcode or 0)

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self._stdout.read_text())
        return value
