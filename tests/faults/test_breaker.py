# SPDX-License-Identifier: Apache-2.0
"""When failures end a run, and when they cost one sample."""

from collections.abc import Callable, Iterator

import pytest

from conftest import Project, read_jsonl, write_jsonl
from image_grounding.errors import (
    BlockedError,
    EndpointError,
    EndpointTimeoutError,
    KeyRefusedError,
    RejectedRequestError,
    SampleError,
    ServerFaultError,
    UnknownModelError,
    UnreachableError,
    UnusableEndpointError,
)
from image_grounding.run.breaker import Breaker
from image_grounding.steps.extraction import EXTRACTION
from image_grounding.steps.grounding import GROUNDING
from support.loopback import Answer, Call, Loopback

Maker = Callable[..., Project]


def ends(breaker: Breaker, error: Exception, *, answered: bool) -> int | None:
    """At which of 100 samples a failure ends the run."""
    results: Iterator[EndpointError | None] = (
        breaker.error_after(GROUNDING, error, answered=answered) for _ in range(100)
    )
    return next((number for number, end in enumerate(results, 1) if end), None)


UNREADABLE = SampleError("reply_unparseable", "no JSON", attempts=2)


@pytest.mark.parametrize(
    ("error", "unanswered", "answered", "after_success"),
    [
        (KeyRefusedError("no"), 1, 8, 8),
        (UnknownModelError("no"), 1, 8, 8),
        (UnusableEndpointError("no"), 1, 8, 8),
        (UnreachableError("no"), 1, 8, 8),
        (ServerFaultError("no"), 8, 8, 8),
        (EndpointTimeoutError("no"), 8, 8, 8),
        (RejectedRequestError("no"), 20, 20, 20),
        (SampleError("internal_error", "no"), 8, 8, 8),
        (UNREADABLE, 20, 20, None),
        (SampleError("image_missing", "no"), None, None, None),
        (BlockedError("no"), None, None, None),
    ],
    ids=lambda value: getattr(value, "reason", None),
)
def test_what_ends_a_run(
    error: Exception, unanswered: int | None, answered: int | None, after_success: int | None
) -> None:
    assert ends(Breaker(8), error, answered=False) == unanswered
    assert ends(Breaker(8), error, answered=True) == answered
    breaker = Breaker(8)
    breaker.succeeded(GROUNDING)
    assert ends(breaker, error, answered=True) == after_success


def test_only_failures_in_a_row_count_each_step_for_itself() -> None:
    breaker, fault = Breaker(3), ServerFaultError("no")
    for _ in range(10):
        for _ in range(2):
            assert breaker.error_after(GROUNDING, fault, answered=True) is None
        breaker.succeeded(GROUNDING)
    assert breaker.error_after(GROUNDING, fault, answered=True) is None
    breaker.succeeded(EXTRACTION)
    assert breaker.error_after(GROUNDING, fault, answered=True) is None
    breaker.succeeded(EXTRACTION)
    end = breaker.error_after(GROUNDING, fault, answered=True)
    assert "3 samples in a row" in str(end)


def test_what_was_done_before_shows_that_others_failed_of_themselves() -> None:
    """A run that goes on meets them one after the other."""
    breaker, rejected = Breaker(8), RejectedRequestError("too long")
    for _ in range(100):
        assert breaker.error_after(GROUNDING, rejected, answered=True) is None
        breaker.recalled(GROUNDING)
    fault = ServerFaultError("no")
    for _ in range(7):
        assert breaker.error_after(GROUNDING, fault, answered=True) is None
        breaker.recalled(GROUNDING)
    assert breaker.error_after(GROUNDING, fault, answered=True)


@pytest.mark.parametrize(("status", "most"), [(402, 8), (400, 20)])
def test_a_refusal_of_everything_after_successes_ends_the_run(
    status: int, most: int, server: Loopback, make_project: Maker
) -> None:
    project = make_project(60, size=(64, 48))
    server.fault = lambda call: Answer(status=status) if call.number >= 8 else None
    ran = project.run(server, "workflow.max_workers=2")
    assert ran.code == 4, ran.err
    assert f"HTTP {status}" in ran.json["error"] and "in a row" in ran.json["error"]
    assert ran.json["counts"]["annotated"] > 0
    assert most <= ran.json["counts"]["failed"] < 55  # a success that comes late begins a new row


def test_a_refusal_in_mid_run_is_that_samples_own(server: Loopback, make_project: Maker) -> None:
    """As of a firewall that dislikes one caption."""
    project = make_project(6, size=(64, 48))

    def firewall(call: Call) -> Answer | None:
        return Answer(status=403) if call.number == 5 else None

    server.fault = firewall
    ran = project.run(server)
    assert ran.code == 3, ran.err
    assert ran.json["counts"]["annotated"] == 5
    (failure,) = project.failures("0") + project.failures("1")
    assert failure["reason"] == "key_refused"


def test_a_grounding_step_that_never_works_ends_the_run(
    server: Loopback, make_project: Maker
) -> None:
    """Though every step 0 succeeds."""
    project = make_project(60, size=(64, 48))
    server.fault = lambda call: Answer(status=500) if call.step == "1" else None
    ran = project.run(server, "workflow.max_attempts=1", "workflow.max_workers=2")
    assert ran.code == 4, ran.err
    assert "in a row" in ran.json["error"]
    assert ran.json["counts"]["failed"] < 20


def test_one_worker_meets_no_more_than_others_may(server: Loopback, make_project: Maker) -> None:
    """A few failures in a row are a few samples' own, however little is asked at once."""
    project = make_project(10, size=(64, 48))
    grounded: list[Call] = []

    def outage(call: Call) -> Answer | None:
        if call.step == "1":
            grounded.append(call)
        return Answer(status=500) if call.step == "1" and 2 < len(grounded) <= 7 else None

    server.fault = outage
    ran = project.run(server, "workflow.max_attempts=1", "workflow.max_workers=1")
    assert ran.code == 3, ran.err
    assert (ran.json["counts"]["annotated"], ran.json["counts"]["failed"]) == (5, 5)


def test_expressions_alone_need_no_model_that_sees(server: Loopback, make_project: Maker) -> None:
    server.model.blind = True
    ran = make_project(2).run(server, "vlm.coordinates=auto", 'workflow.steps=["0"]')
    assert ran.code == 0, ran.err
    assert {call.step for call in server.calls} == {"0"}


def rejects_captions_with(word: str) -> Callable[[Call], Answer | None]:
    return lambda call: Answer(status=400) if word in call.prompt else None


def test_a_row_of_samples_that_failed_before_ends_no_second_run(
    server: Loopback, make_project: Maker
) -> None:
    project = make_project(30, size=(64, 48))
    rows = read_jsonl(project.input)
    for row in rows[:24]:
        row["caption"] += " forbidden"
    write_jsonl(project.input, rows)
    server.fault = rejects_captions_with("forbidden")
    first = project.run(server, "workflow.max_workers=1")
    assert (first.code, first.json["counts"]["failed"]) == (4, 20)
    again = project.run(server, "workflow.max_workers=1")
    assert (again.code, again.json["counts"]["failed"]) == (3, 24)
    assert len(project.annotations()) == 6


def test_known_samples_between_show_that_others_failed_of_themselves(
    server: Loopback, make_project: Maker
) -> None:
    project = make_project(25, size=(64, 48))
    rows = read_jsonl(project.input)
    project.run(server)
    forbidden = [{**row, "caption": row["caption"] + " forbidden"} for row in rows]
    write_jsonl(project.input, [row for pair in zip(rows, forbidden, strict=True) for row in pair])
    server.fault = rejects_captions_with("forbidden")
    ran = project.run(server, "workflow.max_workers=1")
    assert (ran.code, ran.json["counts"]["failed"]) == (3, 25)
