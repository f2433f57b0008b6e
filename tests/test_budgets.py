# SPDX-License-Identifier: Apache-2.0
"""A run that may send or cost only so much stops in good order before it passes that."""

from collections.abc import Callable

import pytest

from conftest import Project
from support.loopback import Answer, Call, Loopback
from support.scripts import run_script

Maker = Callable[..., Project]
SAMPLES = 12
PRICES = ("vlm.prices.input=100", "vlm.prices.output=500")
# Of a request that takes 100 and gives 20 tokens.
COST = 0.02


@pytest.mark.parametrize("workers", [1, 8])
def test_no_more_requests_are_sent(workers: int, server: Loopback, make_project: Maker) -> None:
    project = make_project(SAMPLES, size=(64, 48))
    server.delay = 0.01
    limits = ("workflow.max_requests=11", f"workflow.max_workers={workers}")
    ran = project.run(server, *limits)
    assert ran.code == 3, ran.err
    assert (ran.json["status"], ran.json["stopped_by"]) == ("budget reached", "max_requests")
    assert "workflow.max_requests is reached: 11 requests were sent" in ran.json["error"]
    assert len(server.calls) + len(server.probes) == ran.json["usage"]["requests"] == 11
    counts = ran.json["counts"]
    assert counts["failed"] == 0
    assert counts["annotated"] == SAMPLES - counts["not_attempted"]
    finished = sum(counts["annotated_by_step"].values())
    assert finished == 10, "what was under way is kept"
    while (ran := project.run(server, *limits)).code == 3:
        assert ran.json["usage"]["requests"] <= 11
    assert (ran.code, ran.json["stopped_by"]) == (0, None), ran.err
    assert len(project.annotations()) == SAMPLES
    assert len(server.calls) == 2 * SAMPLES, "nothing was asked twice"


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("steps", ['["0","1"]', '["0"]'])
def test_no_more_is_spent(steps: str, workers: int, server: Loopback, make_project: Maker) -> None:
    """Though the cost of no request is known beforehand."""
    project = make_project(SAMPLES, size=(64, 48))
    server.delay = 0.01
    ran = project.run(
        server, f"workflow.max_cost={9.5 * COST}", f"workflow.max_workers={workers}",
        f"workflow.steps={steps}", *PRICES,
    )  # fmt: skip
    assert ran.code == 3, ran.err
    assert (ran.json["status"], ran.json["stopped_by"]) == ("budget reached", "max_cost")
    assert ran.json["usage"]["cost"] == pytest.approx(9 * COST)
    seen = run_script("status.py", str(project.results), "--quiet").json
    assert seen["status"] == "budget reached"
    assert len(server.calls) + len(server.probes) == 9
    assert ran.json["counts"]["failed"] == 0


def test_requests_that_fail_count(server: Loopback, make_project: Maker) -> None:
    project = make_project(SAMPLES, size=(64, 48))

    def fault(call: Call) -> Answer | None:
        return Answer(status=500) if call.number % 2 else None

    server.fault = fault
    ran = project.run(server, "workflow.max_requests=15", "workflow.max_workers=4")
    assert ran.code == 3, ran.err
    assert len(server.calls) + len(server.probes) == 15
    assert ran.json["counts"]["failed"] == 0


def test_a_cost_needs_prices(server: Loopback, make_project: Maker) -> None:
    ran = make_project(1).run(server, "workflow.max_cost=1", "vlm.prices.input=1")
    assert ran.code == 2
    assert "workflow.max_cost needs vlm.prices.input and vlm.prices.output" in ran.err
