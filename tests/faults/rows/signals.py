# SPDX-License-Identifier: Apache-2.0
"""Signals, at every point of a run."""

import threading
from functools import partial
from signal import (
    SIGCONT,
    SIGHUP,
    SIGINT,
    SIGKILL,
    SIGPIPE,
    SIGQUIT,
    SIGSEGV,
    SIGSTOP,
    SIGTERM,
    SIGUSR1,
    SIGWINCH,
)  # fmt: skip

from faults.fault import Fault, Inject, Outcome, dies, goes_on
from faults.injections import at, both, given, signals
from faults.stage import Stage

row = partial(Fault, "signal")
INTERRUPTED = Outcome(130, "asks no more, writes what is done, exit 130; no sample fails of it")
AT_ONCE = Outcome(
    130, "ends at once, exit 130; nothing that was finished is lost", failed=None, reports=False
)
WHEN = {0: "the first request", 1: "step 0", 3: "step 1"}


def stopped(stage: Stage) -> None:
    """Stopped, and going on a moment later."""
    stage.signal(SIGSTOP)
    threading.Timer(0.3, stage.signal, (SIGCONT,)).start()


def resumed(inject: Inject) -> Inject:
    """In a run that goes on where another was killed."""

    def second(stage: Stage) -> None:
        signals(SIGKILL, 2)(stage)
        stage.run()
        stage.rules.clear()
        inject(stage)

    return second


def twice(stage: Stage) -> None:
    """The second one once the first was heard."""
    stage.signal(SIGINT)
    stage.wait_for("once more to stop at once")
    stage.signal(SIGINT)


# fmt: off
FAULTS = (
    *(row(f"{number.name} at {when}", signals(number, request), INTERRUPTED) for number in
        (SIGINT, SIGTERM, SIGHUP) for request, when in WHEN.items()),
    *(row(f"SIGKILL at {when}", signals(SIGKILL, request), dies(SIGKILL)) for request, when in
        {**WHEN, 2: "the second question", 4: "the last question"}.items()),
    *(row(f"{number.name} at step 1", signals(number, 3), dies(number)) for number in (SIGQUIT,
        SIGSEGV, SIGUSR1)),
    *(row(f"{number.name} at step 1", signals(number, 3), goes_on("it is passed over")) for
        number in (SIGPIPE, SIGWINCH)),
    row("SIGINT twice", at(1, twice), AT_ONCE),
    row("SIGSTOP, and SIGCONT later", at(2, stopped), goes_on()),
    row("SIGKILL in a run that goes on after a SIGKILL", resumed(signals(SIGKILL, 1)),
        dies(SIGKILL)),
    row("SIGTERM in a run that goes on after a SIGKILL", resumed(signals(SIGTERM, 1)),
        INTERRUPTED),
    row("SIGTERM with --quiet", both(given("--quiet"), signals(SIGTERM, 2)), INTERRUPTED),
)
