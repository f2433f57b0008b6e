# SPDX-License-Identifier: Apache-2.0
"""Every row of the matrix: ``make test-faults``."""

from pathlib import Path

import pytest

from faults import invariants
from faults.fault import Fault
from faults.rows import FAULTS
from faults.stage import GOOD, Stage
from support.scripts import Ran

CASES = [
    pytest.param(fault, backend, id=f"{fault.group}: {fault.name} ({backend})")
    for fault in FAULTS
    for backend in fault.backends
]


@pytest.mark.parametrize(("fault", "backend"), CASES)
def test_fault(fault: Fault, backend: str, tmp_path: Path) -> None:
    with Stage(tmp_path, backend) as stage:
        fault.inject(stage)
        lines = list(stage.lines)
        ran = stage.run()
        what_follows(fault, stage, ran)
        invariants.check(stage, ran, lines, reports=fault.outcome.reports)
        if mended := ran.code != 0 or not fault.outcome.reports:
            stage.mend()
            fault.mend(stage)
        the_next_run_completes(stage)
        if mended:
            invariants.are_as_ever(stage, invariants.read(stage.results), GOOD)


def what_follows(fault: Fault, stage: Stage, ran: Ran) -> None:
    """What the row says must follow."""
    outcome = fault.outcome
    assert ran.code == outcome.code, ran.err
    failures = invariants.failures_of(stage.results)
    said = [ran.out, ran.err, *(entry["message"] for entry in failures)]
    assert any(outcome.words in " ".join(text.split()) for text in said), ran.err
    if outcome.failed is not None:
        reasons = [entry["reason"] for entry in failures]
        assert {reason: reasons.count(reason) for reason in reasons} == outcome.failed
    assert outcome.most is None or stage.asked <= outcome.most


def the_next_run_completes(stage: Stage) -> None:
    """With nothing lost, and nothing asked again that was finished."""
    finished = {record["sample_id"] for record in invariants.read(stage.results)}
    again = stage.run()
    assert again.code == 0, again.err
    invariants.check(stage, again, stage.lines)
    records = invariants.read(stage.results)
    assert len(records) == sum(1 for line in stage.lines if line.strip())
    assert not invariants.failures_of(stage.results)
    new = {record["sample_id"] for record in records} - finished
    assert stage.asked <= (2 * len(new) + 1 if new else 0), "what was finished was asked for again"
