# SPDX-License-Identifier: Apache-2.0
"""What a run may ask and cost: it stops before that is passed."""

import asyncio

from image_grounding.asking.meter import Meter, cost_of
from image_grounding.errors import BudgetError
from image_grounding.spec.model import Prices
from image_grounding.steps.question import Reply


class Budget:
    """Lets requests be sent as long as they stay within what a run may take.

    What a reply costs is known afterwards. So each request under way counts as the dearest one
    so far, and the first is sent alone; near the end, requests wait for what those before them
    really cost.

    Args:
        meter: what was taken so far.
        prices: per million tokens.
        max_requests: of the run; None for no limit.
        max_cost: in the currency of the prices; None for no limit.
    """

    def __init__(
        self, meter: Meter, prices: Prices, max_requests: int | None, max_cost: float | None
    ) -> None:
        self._meter = meter
        self._prices = prices
        self._max_requests = max_requests
        self._max_cost = max_cost
        self._under_way = 0
        self._dearest: float | None = None
        self._came_back = asyncio.Event()

    @property
    def cost(self) -> float | None:
        """Of all replies so far; None where a price is unknown."""
        meter, prices = self._meter, self._prices
        return cost_of(meter.input_tokens, meter.output_tokens, prices.input, prices.output)

    async def enter(self) -> None:
        """Wait until a request may be sent.

        Raises:
            BudgetError: it would pass the budget.
        """
        while not self._is_within():
            self._came_back.clear()
            await self._came_back.wait()
        self._under_way += 1

    def leave(self, reply: Reply | None) -> None:
        """A request came back, with a reply that the meter has counted, or without."""
        self._under_way -= 1
        self._came_back.set()
        if reply:
            usage, prices = reply.usage, self._prices
            cost = cost_of(usage.input_tokens, usage.output_tokens, prices.input, prices.output)
            self._dearest = max(self._dearest or 0.0, cost or 0.0)

    def _is_within(self) -> bool:
        """Whether a request may be sent; False where those under way decide.

        Raises:
            BudgetError: it may not.
        """
        sent = self._meter.requests
        if self._max_requests is not None and sent >= self._max_requests:
            message = f"workflow.max_requests is reached: {sent} requests were sent"
            raise BudgetError(message, limit="max_requests")
        cost = self.cost
        if self._max_cost is None or cost is None:
            return True
        if self._dearest is None:
            return self._under_way == 0
        if cost + (self._under_way + 1) * self._dearest <= self._max_cost:
            return True
        if self._under_way == 0:
            message = f"workflow.max_cost is reached: {cost:.6g}, and one more request may pass it"
            raise BudgetError(message, limit="max_cost")
        return False
