# SPDX-License-Identifier: Apache-2.0
"""What was asked and what it cost, counted once for the progress line and the summary."""

import statistics
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from image_grounding.steps.question import Reply


@dataclass
class Meter:
    """Counts over one run; latencies (seconds) of the latest 10,000 requests."""

    requests: int = 0
    replies: int = 0
    retries: int = 0
    asked_again: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    uploaded_bytes: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))

    def count(self, reply: Reply) -> None:
        """Add a reply's tokens and latency."""
        self.replies += 1
        self.input_tokens += reply.usage.input_tokens
        self.output_tokens += reply.usage.output_tokens
        self.cached_tokens += reply.usage.cached_tokens
        self.latencies.append(reply.latency)

    def mean_tokens(self) -> float:
        """Tokens of a request; 0 before any reply."""
        return (self.input_tokens + self.output_tokens) / max(self.replies, 1)

    def latency(self) -> dict[str, float] | None:
        """Median and 95th percentile in seconds, or None before any reply."""
        if not self.latencies:
            return None
        ordered = sorted(self.latencies)
        p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
        return {"p50_s": round(statistics.median(ordered), 3), "p95_s": round(p95, 3)}

    def plain(self, price_in: float | None, price_out: float | None) -> dict[str, Any]:
        """For a summary; the cost at prices per million tokens."""
        return {
            "requests": self.requests,
            "retries": self.retries,
            "asked_again": self.asked_again,
            "errors": dict(self.errors),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            # Of the input tokens, where the server says so.
            "cached_tokens": self.cached_tokens,
            "image_bytes": self.uploaded_bytes,
            "cost": cost_of(self.input_tokens, self.output_tokens, price_in, price_out),
            "latency": self.latency(),
        }


def cost_of(
    input_tokens: int, output_tokens: int, price_in: float | None, price_out: float | None
) -> float | None:
    """What tokens cost at prices per million; None where a price is unknown."""
    if price_in is None or price_out is None:
        return None
    return round((input_tokens * price_in + output_tokens * price_out) / 1_000_000, 6)
