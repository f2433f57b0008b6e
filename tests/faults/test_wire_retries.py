# SPDX-License-Identifier: Apache-2.0
"""What is asked again, and when."""

import asyncio

import pytest

from image_grounding.asking.asker import Asker, RetryPolicy
from image_grounding.asking.limits import Gate
from image_grounding.errors import RateLimitedError
from image_grounding.steps.question import Question, Reply
from support.wire import BACKENDS, Received, Wire, answer, good, make_endpoint

QUICK = RetryPolicy(attempts=3, seconds=5.0, first_pause=0.01, longest_asked=0.05)


def ask(backend: str, url: str, count: int) -> tuple[Asker, list[Reply | BaseException]]:
    """One question after the other."""

    async def go() -> tuple[Asker, list[Reply | BaseException]]:
        asker = Asker(lambda: make_endpoint(backend, url), Gate(1), QUICK)
        questions = (asker.ask(Question(f"look {number}")) for number in range(count))
        try:
            return asker, await asyncio.gather(*questions, return_exceptions=True)
        finally:
            await asker.close()

    return asyncio.run(go())


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_hour_is_not_waited_for_where_others_are_answered(backend: str, status: int) -> None:
    """The question is asked again later, and all others go on meanwhile."""
    numbers: list[str] = []

    def busy(request: Received) -> bytes:
        number = request.body.partition(b"look ")[2][:1].decode()
        numbers.append(number)
        first = number == "1" and numbers.count("1") == 1
        return answer(status=status, retry_after="3600") if first else good(request)

    with Wire(busy) as wire:
        asker, outcome = ask(backend, wire.url, 4)
    assert all(isinstance(reply, Reply) for reply in outcome), outcome
    assert numbers == ["0", "1", "2", "3", "1"]
    assert asker.gate.opened_at == 0, "it held everyone back"


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_hour_ends_what_cannot_begin(backend: str) -> None:
    with Wire(lambda request: answer(status=429, retry_after="3600")) as wire:
        _, (outcome,) = ask(backend, wire.url, 1)
        assert isinstance(outcome, RateLimitedError)
        assert len(wire.received) == 1


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_passes_is_asked_again(backend: str, status: int) -> None:
    answers = iter([answer(status=status)])
    with Wire(lambda request: next(answers, good(request))) as wire:
        asker, outcome = ask(backend, wire.url, 1)
        assert isinstance(outcome[0], Reply), outcome
        assert (len(wire.received), asker.meter.retries) == (2, 1)
