# SPDX-License-Identifier: Apache-2.0
"""references/scaling.md: its table is what the arithmetic gives, and the arithmetic holds."""

import sys

import pytest

from support.scripts import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import scaling


def test_the_table_is_the_arithmetic() -> None:
    text = (ROOT / "references" / "scaling.md").read_text(encoding="utf-8")
    assert "\n".join(map(scaling.row, scaling.PLANS)) in text


@pytest.mark.parametrize("plan", scaling.PLANS, ids=lambda plan: str(plan.name))
def test_the_arithmetic_is_what_happens(plan: scaling.Plan) -> None:
    """The last answers come in while nothing is left to send, which is more of a short run."""
    samples = 5_000
    tail_s = 4 * plan.latency_s
    simulated = 3600 * scaling.simulate(plan, samples)
    predicted = 3600 * plan.hours(samples)
    assert predicted * 0.98 < simulated < predicted * 1.02 + tail_s
