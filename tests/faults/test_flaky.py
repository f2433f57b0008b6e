# SPDX-License-Identifier: Apache-2.0
"""An endpoint that fails now and then: every sample is annotated or listed, none is lost."""

import random
from collections.abc import Callable

from conftest import Project, write_jsonl
from support.loopback import Answer, Call, Loopback

SAMPLES = 120


def flaky(seed: int) -> Callable[[Call], Answer | None]:
    """15 % answers of 500, 15 % replies cut somewhere."""
    rng = random.Random(seed)

    def fault(call: Call) -> Answer | None:
        chance = rng.random()
        if chance < 0.15:
            return Answer(status=500)
        return Answer(cut=rng.random(), finish="length") if chance < 0.3 else None

    return fault


def test_nothing_is_lost(server: Loopback, make_project: Callable[..., Project]) -> None:
    project = make_project(10, size=(96, 64))
    rows = [
        {"image_path": name, "caption": f"{scene.caption}, number {index}"}
        for index in range(SAMPLES // 10)
        for name, scene in project.scenes.items()
    ]
    write_jsonl(project.input, rows)
    server.fault = flaky(7)
    # Two attempts, so that some samples do fail.
    first = project.run(server, "workflow.max_workers=16", "workflow.max_attempts=2")
    done = {record["sample_id"] for record in project.annotations()}
    failed = [one for step in "01" for one in project.failures(step)]
    assert first.code == 3, first.err
    assert first.json["usage"]["retries"] > 5
    assert first.json["usage"]["asked_again"] > 5
    assert len(done) + len(failed) == SAMPLES
    assert not done & {one["sample_id"] for one in failed}
    assert {one["reason"] for one in failed} <= {"server_fault", "reply_truncated"}
    assert all(one["message"] and one["attempts"] == 2 for one in failed)
    # 240 questions, each tried at most twice for a fault and twice for a cut reply.
    assert len(failed) < 30

    server.fault = lambda call: None
    asked = len(server.calls)
    second = project.run(server)
    assert second.code == 0, second.err
    assert 0 < len(server.calls) - asked <= 2 * len(failed)
    assert not project.failures("0") + project.failures("1")
    records = project.annotations()
    assert [record["caption"] for record in records] == [row["caption"] for row in rows]
    for record in records:
        assert [len(one["instances"]) for one in record["expressions"]] == [1, 1, 1]

    asked = len(server.calls)
    third = project.run(server)
    assert third.code == 0
    assert third.json["counts"]["from_checkpoints"] == SAMPLES
    assert len(server.calls) == asked


def test_workers_come_with_the_limit(
    server: Loopback, make_project: Callable[..., Project]
) -> None:
    """Four at once at first, and no bound: there are more requests than the first ten workers."""
    server.delay = 0.1
    project = make_project(1, size=(64, 48))
    caption = project.scenes["scene0.png"].caption
    rows = [{"image_path": "scene0.png", "caption": f"{caption} {n}"} for n in range(60)]
    write_jsonl(project.input, rows)
    ran = project.run(server, "workflow.max_workers=auto", "workflow.steps=['0']")
    assert ran.code == 0, ran.err
    assert server.most_in_flight > 10
    assert "(rising)" in ran.err


def test_a_run_finds_what_the_endpoint_can_take(
    server: Loopback, make_project: Callable[..., Project]
) -> None:
    """It says 429 to more than six at once: all is annotated, at about six at once."""
    server.delay = 0.1  # so that requests overlap on a busy machine, too
    server.fault = lambda call: Answer(status=429) if server.in_flight > 6 else None
    project = make_project(1, size=(64, 48))
    caption = project.scenes["scene0.png"].caption
    rows = [{"image_path": "scene0.png", "caption": f"{caption} {n}"} for n in range(40)]
    write_jsonl(project.input, rows)
    ran = project.run(server, "workflow.max_workers=auto")
    assert ran.code == 0, ran.err
    assert ran.json["counts"]["annotated"] == 40
    reached = ran.json["usage"]["concurrency"]
    assert 6 <= reached["most"] <= 12
    assert 4 <= reached["limit"] <= 9
