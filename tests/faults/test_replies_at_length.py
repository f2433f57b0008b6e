# SPDX-License-Identifier: Apache-2.0
"""What holds for every reply, for many more of them than each run of the tests has time for."""

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import test_replies_exact as exact
import test_replies_mutations as mutations
import test_replies_properties as properties

MANY = settings(max_examples=300, phases=set(Phase) - {Phase.explain})


@pytest.mark.parametrize(
    "test",
    [
        mutations.test_entries_that_went_wrong,
        mutations.test_texts_that_went_wrong,
        mutations.test_both_went_wrong,
    ],
)
@settings(MANY, max_examples=1000)
@given(seed=mutations.SEEDS)
def test_of_a_good_reply(test: Any, seed: int) -> None:
    test.hypothesis.inner_test(seed)


@MANY
@given(properties.texts)
def test_of_any_text(text: str) -> None:
    properties.check(text)


@MANY
@given(properties.written, st.floats(0, 1))
def test_of_what_was_cut(text: str, share: float) -> None:
    test: Any = properties.test_a_cut_reply_is_never_whole
    test.hypothesis.inner_test(text, share)


@MANY
@given(properties.answers)
def test_of_json(answer: object) -> None:
    test: Any = properties.test_strict_json_is_read_the_same_by_both_parsers
    test.hypothesis.inner_test(answer)


@MANY
@given(exact.replies())
def test_of_the_requested_form(text: str) -> None:
    test: Any = exact.test_both_readers_find_the_same
    test.hypothesis.inner_test(text)
