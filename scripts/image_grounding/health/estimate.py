# SPDX-License-Identifier: Apache-2.0
"""What N samples would take, from the few requests of a check-up."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from image_grounding.asking import Asker
from image_grounding.asking.meter import cost_of
from image_grounding.spec import Spec


@dataclass
class Measured:
    """Requests of one kind: how many, seconds and tokens in all."""

    requests: int = 0
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0

    @contextmanager
    def watching(self, asker: Asker) -> Iterator[None]:
        """Add what the block asks."""
        meter = asker.meter
        before = (len(meter.latencies), meter.input_tokens, meter.output_tokens)
        try:
            yield
        finally:
            new = list(meter.latencies)[before[0] :]
            self.requests += len(new)
            self.seconds += sum(new)
            self.input_tokens += meter.input_tokens - before[1]
            self.output_tokens += meter.output_tokens - before[2]

    def figures(self) -> dict[str, float] | None:
        """Per call: seconds and tokens; None where nothing was asked."""
        if not self.requests:
            return None
        return {
            "seconds": round(self.seconds / self.requests, 3),
            "input_tokens": round(self.input_tokens / self.requests),
            "output_tokens": round(self.output_tokens / self.requests),
        }


def estimate(samples: int, by_step: dict[str, Measured], spec: Spec) -> dict[str, Any]:
    """Requests, tokens, seconds and cost of ``samples``; tokens and cost None where unknown.

    A probe's picture is small and simple, so that real samples take rather more than less.
    """
    asked = [found for step, found in by_step.items() if step in spec.workflow.steps]
    asked = [found for found in asked if found.requests]
    requests = samples * (1 if spec.workflow.in_single_pass and asked else len(asked))
    seconds = samples * sum(found.seconds / found.requests for found in asked)
    seconds /= spec.workflow.first_workers
    if limit := spec.workflow.requests_per_minute:
        seconds = max(seconds, requests * 60 / limit)
    tokens_in = round(samples * sum(found.input_tokens / found.requests for found in asked))
    tokens_out = round(samples * sum(found.output_tokens / found.requests for found in asked))
    prices = spec.vlm.prices
    cost = cost_of(tokens_in, tokens_out, prices.input, prices.output) if tokens_in else None
    return {
        "samples": samples,
        "requests": requests,
        "input_tokens": tokens_in or None,
        "output_tokens": tokens_out or None,
        "max_workers": spec.workflow.first_workers,
        "seconds": round(seconds, 1),
        "cost": None if cost is None else round(cost, 4),
    }
