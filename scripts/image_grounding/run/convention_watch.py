# SPDX-License-Identifier: Apache-2.0
"""Notices, while a run goes on, that an endpoint begins to write its boxes otherwise.

A server that is started again with another model, or a gateway that routes elsewhere, changes
the convention in mid-run. One drawn picture with known boxes is asked about after every
``EVERY`` samples, at once where many boxes cannot be used, and at the end of a run.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from image_grounding.errors import EndpointError, LoadingError, UnusableEndpointError
from image_grounding.input.samples import Sample

EVERY = 200
# Fewer samples than this are not checked once more at the end of a run.
_WORTH_A_CHECK = 20
# Of so many samples in a row, what share may have unusable boxes.
_WINDOW, _MOST_UNUSABLE = 20, 0.5


class ConventionWatch:
    """Counts samples, and asks about a drawn picture when it is time.

    Args:
        recheck: whether boxes still come as before; see ``Teacher.recheck``.
        suspect: called with each sample that was done since the last good check, where not.

    Attributes:
        epoch: how often the convention has changed.
    """

    def __init__(
        self, recheck: Callable[[], Awaitable[bool]], suspect: Callable[[Sample], None]
    ) -> None:
        self.epoch = 0
        self._recheck = recheck
        self._suspect = suspect
        self._since_good: list[Sample] = []
        self._unusable: deque[bool] = deque(maxlen=_WINDOW)
        self._checking = asyncio.Lock()

    async def wait(self) -> None:
        """Until no check is under way: nothing is asked meanwhile."""
        async with self._checking:
            pass

    async def done(self, sample: Sample, *, unusable: bool) -> None:
        """Count a sample whose boxes were read; raises UnusableEndpointError."""
        self._since_good.append(sample)
        await self.count(unusable=unusable)

    async def count(self, *, unusable: bool) -> None:
        """Count whether a sample had boxes that cannot be used, and check if it is time."""
        self._unusable.append(unusable)
        many = sum(self._unusable) >= _WINDOW * _MOST_UNUSABLE
        if (many or len(self._since_good) >= EVERY) and not self._checking.locked():
            await self._check()

    async def end(self) -> None:
        """The last check of a run; raises UnusableEndpointError."""
        if len(self._since_good) >= _WORTH_A_CHECK:
            await self._check()

    async def _check(self) -> None:
        async with self._checking:
            self._unusable.clear()
            checked = len(self._since_good)
            try:
                holds = await self._recheck()
            except LoadingError:
                return
            except UnusableEndpointError:
                self._doubt()
                raise
            except EndpointError:  # the samples' own questions will meet it, too
                return
            if holds:
                # What was done meanwhile may have been asked after the check.
                del self._since_good[:checked]
            else:
                self._doubt()

    def _doubt(self) -> None:
        self.epoch += 1
        for sample in self._since_good:
            self._suspect(sample)
        self._since_good.clear()
