# SPDX-License-Identifier: Apache-2.0
"""Replies that were read wrong once, or could be: each comes out right or unanswered."""

from pathlib import Path

import pytest

from support.replies import Case, load_cases, may_look_absent, read

FOLDER = Path(__file__).parent / "data/replies"
CASES = [case for path in sorted(FOLDER.glob("*.json")) for case in load_cases(path)]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_reply_is_read_as_a_careful_person_reads_it(case: Case) -> None:
    reply, found = read(case)
    assert found == case.want
    # What no reading is right for may not pass for unseen when it is asked for once more.
    assert not may_look_absent(reply, found)


def test_no_case_is_lost() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 24
