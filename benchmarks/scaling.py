#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a great many samples take and what they cost: by arithmetic, and simulated.

The rows are those of the table in references/scaling.md. The arithmetic is what a user does there;
the simulation sends every request: samples through both steps, latencies that differ, some requests
that fail and are sent again, rates kept as ``asking`` keeps them, as many runs as the row has.

    python benchmarks/scaling.py [--samples 1000000] [--markdown]
"""

import argparse
import heapq
import json
import math
import random
from collections import deque
from dataclasses import dataclass

# Requests that are sent again, and how long they wait for it.
AGAIN, BACKOFF_S = 0.01, 1.0
# Of a latency's logarithm: one answer in twenty takes more than twice the median.
SPREAD = 0.45
MILLION = 1_000_000


@dataclass(frozen=True)
class Plan:
    """A way to do the work.

    Attributes:
        name: what it is.
        in_flight: requests at a time, of all runs together.
        latency_s: mean seconds of an answer.
        per_minute: requests a minute that the quota permits; None without.
        tokens_per_minute: the same of tokens.
        requests: a sample.
        sent: tokens a sample.
        written: tokens a sample.
        prices: US dollars a million tokens, sent and written; (0, 0) for an own server.
        gpu_hour: US dollars an hour of an own server.
    """

    name: str
    in_flight: int
    latency_s: float
    per_minute: float | None = None
    tokens_per_minute: float | None = None
    requests: int = 2
    sent: int = 1950
    written: int = 220
    prices: tuple[float, float] = (0.0, 0.0)
    gpu_hour: float = 0.0

    @property
    def a_second(self) -> float:
        """Requests a second: the least of what latency, requests and tokens permit."""
        limits = [self.in_flight / self.latency_s]
        if self.per_minute:
            limits.append(self.per_minute / 60)
        if self.tokens_per_minute:
            tokens = (self.sent + self.written) / self.requests
            limits.append(self.tokens_per_minute / 60 / tokens)
        return min(limits)

    def hours(self, samples: int) -> float:
        """By arithmetic, with the requests that are sent again."""
        return samples * self.requests * (1 + AGAIN) / self.a_second / 3600

    def cost(self, samples: int) -> float:
        """By arithmetic: requests that failed cost nothing."""
        tokens = self.sent * self.prices[0] + self.written * self.prices[1]
        return samples * tokens / MILLION + self.hours(samples) * self.gpu_hour


PLANS = (
    Plan("own server, 1 GPU, 32 in flight", 32, 2.0, gpu_hour=2.0),
    Plan("own servers, 8 GPUs, a shard each", 256, 2.0, gpu_hour=16.0),
    Plan("hosted, 2,000 requests, 4M tokens a minute", 128, 2.0, 2_000, 4e6, prices=(0.1, 0.4)),
    Plan("the same in a single pass", 128, 3.0, 2_000, 4e6, 1, 1100, 200, prices=(0.1, 0.4)),
    Plan("hosted, 10,000 requests, 20M tokens a minute", 512, 2.0, 10_000, 2e7, prices=(0.1, 0.4)),
)  # fmt: skip


def simulate(plan: Plan, samples: int, seed: int = 0) -> float:
    """Hours until the last sample is through."""
    rng = random.Random(seed)
    median = plan.latency_s / math.exp(SPREAD**2 / 2)
    tokens = (plan.sent + plan.written) / plan.requests
    gaps = [60 / plan.per_minute] if plan.per_minute else []
    gaps += [60 * tokens / plan.tokens_per_minute] if plan.tokens_per_minute else []
    gap, next_free, now = max(gaps, default=0.0), 0.0, 0.0
    fresh, again = samples, deque[int]()
    ends: list[tuple[float, int]] = []  # when a request ends, or a pause; its step, or step + 10
    flying = 0
    while fresh or again or ends:
        while flying < plan.in_flight and (fresh or again):
            if again:
                step = again.popleft()
            else:
                step, fresh = 0, fresh - 1
            start = max(now, next_free)
            next_free = start + gap
            heapq.heappush(ends, (start + rng.lognormvariate(0, SPREAD) * median, step))
            flying += 1
        now, step = heapq.heappop(ends)
        if step >= 10:  # a pause is over
            again.append(step - 10)
            continue
        flying -= 1
        if rng.random() < AGAIN:
            heapq.heappush(ends, (now + BACKOFF_S, step + 10))
        elif step + 1 < plan.requests:
            again.append(step + 1)
    return now / 3600


def sizes(plan: Plan, samples: int) -> dict[str, float]:
    """Arithmetic and simulation of one plan."""
    predicted, simulated = plan.hours(samples), simulate(plan, samples)
    return {
        "requests_a_second": round(plan.a_second, 1),
        "hours": round(predicted, 2),
        "simulated_hours": round(simulated, 2),
        "simulated_to_predicted": round(simulated / predicted, 3),
        "cost": round(plan.cost(samples), 2),
    }


def row(plan: Plan) -> str:
    """A row of the table: 10,000, 100,000 and a million samples."""
    cells = [f"{plan.name}", f"{plan.a_second:.1f}"]
    for samples in (10_000, 100_000, MILLION):
        cells.append(f"{_time(plan.hours(samples))}, ${plan.cost(samples):,.0f}")
    return f"| {' | '.join(cells)} |"


def _time(hours: float) -> str:
    if hours < 1.5:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def main() -> None:
    """Print one JSON object, or the rows in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=MILLION)
    parser.add_argument("--markdown", action="store_true", help="only the table's rows")
    given = parser.parse_args()
    if given.markdown:
        print("\n".join(map(row, PLANS)))
        return
    found = {plan.name: sizes(plan, given.samples) for plan in PLANS}
    print(json.dumps({"samples": given.samples, **found}, indent=1))


if __name__ == "__main__":
    main()
