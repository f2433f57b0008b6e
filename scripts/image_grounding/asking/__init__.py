# SPDX-License-Identifier: Apache-2.0
"""Models behind addresses: one small interface over the SDKs."""

from collections.abc import Callable
from pathlib import Path

from image_grounding.asking.asker import Asker, RetryPolicy
from image_grounding.asking.budget import Budget
from image_grounding.asking.capacity import Capacity
from image_grounding.asking.endpoints.base import Endpoint
from image_grounding.asking.leases import LeaseFile, Leases
from image_grounding.asking.limits import Gate
from image_grounding.asking.meter import Meter
from image_grounding.asking.outage import Outage
from image_grounding.spec import Spec, Vlm
from image_grounding.storage.address import is_address

__all__ = ["Asker", "Endpoint", "make_asker", "make_endpoint"]


def make_endpoint(vlm: Vlm, say: Callable[[str], None]) -> Endpoint:
    """The endpoint that a spec names. The SDKs are slow to import: only the one in use is.

    Raises:
        KeyRefusedError: the backend needs a key and there is none.
    """
    if vlm.backend == "gemini":
        from image_grounding.asking.endpoints.gemini import GeminiEndpoint

        return GeminiEndpoint(vlm.gemini, vlm.structured_output, say)
    from image_grounding.asking.endpoints.openai import OpenAIEndpoint

    return OpenAIEndpoint(vlm.openai, vlm.structured_output, say)


def make_asker(
    spec: Spec,
    say: Callable[[str], None],
    *,
    rate_limited_seconds: float = 180.0,
    for_run: bool = False,
    maker: Callable[[Vlm, Callable[[str], None]], Endpoint] = make_endpoint,
) -> Asker:
    """An asker for the spec's endpoint, which ``maker`` makes, with its limits.

    One ``for_run`` waits outages out and keeps to budgets.
    """
    workflow = spec.workflow
    meter = Meter()
    gate = Gate(workflow.first_workers)
    return Asker(
        lambda: maker(spec.vlm, say),
        gate,
        RetryPolicy(workflow.max_attempts, rate_limited_seconds=rate_limited_seconds),
        workflow.requests_per_minute,
        workflow.tokens_per_minute,
        Capacity() if workflow.max_workers == "auto" else None,
        Outage(workflow.max_outage, gate, say) if for_run else None,
        meter,
        Budget(meter, spec.vlm.prices, workflow.max_requests, workflow.max_cost)
        if for_run
        else None,
        _leases(workflow.shared_limit, say),
    )


def _leases(shared: str | None, say: Callable[[str], None]) -> Leases | None:
    """Where the leases of ``workflow.shared_limit`` are had; None where nothing is shared."""
    if not shared:
        return None
    if not is_address(shared):
        if not Path(shared).exists():  # a slip would give this run a quota of its own
            say(f"workflow.shared_limit: {shared} is not there yet, and is made")
        return LeaseFile(Path(shared))
    from image_grounding.asking.lease_server import LeaseServer  # slow to import, as the SDKs

    return LeaseServer(shared, say)
