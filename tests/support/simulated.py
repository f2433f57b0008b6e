# SPDX-License-Identifier: Apache-2.0
"""An event loop whose time passes only where everybody sleeps, and at once."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Its ``time`` is the simulated one."""

    def __init__(self) -> None:
        super().__init__()
        self._simulated = 1000.0

    def time(self) -> float:
        return self._simulated

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            first = self._scheduled[0]
            if first._cancelled:  # it would leave the loop to wait for the next one
                first = min(
                    (timer for timer in self._scheduled if not timer._cancelled), default=first
                )
            self._simulated = max(self._simulated, first._when)
        super()._run_once()


def simulate(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` in simulated time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(main)
