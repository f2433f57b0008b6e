# SPDX-License-Identifier: Apache-2.0
"""How a run is going: its pace, and what another terminal sees of it."""

import dataclasses

from image_grounding.run.progress import Pace, Snapshot

START = Snapshot(
    total=100, done=0, failed=0, repeated=0, resumed=0, steps=2, steps_done=0, half_done=0,
    asking_s=0.0, in_flight=0, limit=8, requests=0, retries=0, tokens=0,
)  # fmt: skip


def test_pace_is_known_before_the_first_sample_is_through() -> None:
    pace = Pace()
    pace.update(START)
    assert pace.seconds_left(START) is None
    now = dataclasses.replace(START, steps_done=8, half_done=8, asking_s=2.0, requests=16)
    pace.update(now)
    assert pace.rate(now) == 2.0
    assert pace.seconds_left(now) == (200 - 8) / 4


def test_what_was_there_already_says_nothing_of_the_pace() -> None:
    pace = Pace()
    now = dataclasses.replace(START, done=60, resumed=60, steps_done=10, half_done=2, asking_s=5.0)
    pace.update(now)
    assert (pace.rate(now), pace.seconds_left(now)) == (1.0, (40 * 2 - 2) / 2)


def test_repeated_lines_are_not_left() -> None:
    now = dataclasses.replace(START, done=50, failed=5, repeated=45)
    assert (now.left, now.steps_left) == (0, 0)


def test_pace_follows_a_change() -> None:
    """After an outage or a climb to more requests at a time, the last minute counts."""
    pace = Pace()
    for second in range(1, 301):
        fast = max(0, second - 200) * 10
        now = dataclasses.replace(START, total=10_000, steps_done=second + fast, asking_s=second)
        pace.update(now)
    assert pace.rate(now) == 5.5
