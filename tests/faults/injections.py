# SPDX-License-Identifier: Apache-2.0
"""The short ways in which rows inject: lines, arguments, pictures, answers, acts."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.fault import Inject
from faults.stage import VICTIM, Stage, remove
from support.loopback import Answer, Call

Line = bytes | str | dict[str, Any]


def both(*injections: Inject) -> Inject:
    """One after the other."""

    def inject(stage: Stage) -> None:
        for injection in injections:
            injection(stage)

    return inject


def line(*lines: Line) -> Inject:
    """More lines of input."""

    def inject(stage: Stage) -> None:
        for text in lines:
            stage.add(text)

    return inject


def content(data: Callable[[Stage], bytes] | bytes) -> Inject:
    """The whole input."""

    def inject(stage: Stage) -> None:
        held = data if isinstance(data, bytes) else data(stage)
        stage.input.write_bytes(held)
        stage.lines = held.removesuffix(b"\n").split(b"\n") if held else []

    return inject


def given(*arguments: str, **environment: str) -> Inject:
    """Arguments and environment of the run; ``{folder}`` is the stage's."""

    def inject(stage: Stage) -> None:
        stage.more += [text.replace("{folder}", str(stage.folder)) for text in arguments]
        stage.environment |= environment

    return inject


def picture(make: Callable[[Path], object] | bytes) -> Inject:
    """In the place of the victim's picture."""

    def inject(stage: Stage) -> None:
        path = stage.pictures / VICTIM
        remove(path)
        if isinstance(make, bytes):
            path.write_bytes(make)
        else:
            make(path)

    return inject


def always(answer: Answer | Callable[[], Answer], step: str = "01") -> Inject:
    """What every question about the victim is answered, in these steps."""

    def inject(stage: Stage) -> None:
        def rule(call: Call) -> Answer | None:
            if stage.is_victim(call) and call.step and call.step in step:
                return answer if isinstance(answer, Answer) else answer()
            return None

        stage.rules.append(rule)

    return inject


def once(answer: Answer | Callable[[], Answer], step: str = "01") -> Inject:
    """What the first question about the victim is answered."""

    def inject(stage: Stage) -> None:
        met: list[Call] = []

        def rule(call: Call) -> Answer | None:
            if met or not stage.is_victim(call) or not call.step or call.step not in step:
                return None
            met.append(call)
            return answer if isinstance(answer, Answer) else answer()

        stage.rules.append(rule)

    return inject


def everything(answer: Answer | Callable[[], Answer]) -> Inject:
    """What every request is answered, from the first one on."""

    def inject(stage: Stage) -> None:
        stage.rules.append(lambda call: answer if isinstance(answer, Answer) else answer())

    return inject


def at(number: int, act: Inject) -> Inject:
    """Do something when the endpoint is asked so often; 0 is the probe."""
    return lambda stage: stage.at(number, act)


def signals(number: int, *requests: int) -> Inject:
    """Send a signal to the run when the endpoint is asked so often."""
    return both(*(at(request, lambda stage: stage.signal(number)) for request in requests))


def fifo(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)
