# SPDX-License-Identifier: Apache-2.0
"""Whatever goes wrong with a good reply, nothing of it is silently wrong.

For each expression the outcome is its right boxes, or that it is asked again: never other
boxes, and never absent unless the reply says so. ``faults/test_replies_at_length.py`` tries far
more replies.
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_grounding.replies import ReplyStatus, read_grounding
from support.mutations import ANY, STRUCTURED, Good, Writer, damaged, good_reply, mutated
from support.replies import in_pixels, may_look_absent, outcomes

SEEDS = st.integers(0, 2**64 - 1)


def check(good: Good, text: str, *, cut: bool = False) -> None:
    """Hold what is read in ``text`` against what was right before it was damaged."""
    reply = read_grounding(text, good.asked)
    found = outcomes(reply, len(good.asked))
    unsure = cut or reply.status is ReplyStatus.TRUNCATED
    for index, boxes in enumerate(found):
        right = sorted(map(in_pixels, good.truth(index)))
        context = (good.asked, index, text, found, reply)
        if boxes == []:
            assert index in good.unseen(), context
        elif boxes is not None and (unsure or (index in good.thinned and not reply.complete)):
            assert set(boxes) <= set(right), context
        elif boxes is not None:
            assert boxes == right, context
    if not unsure:
        boxed = {index for index in range(len(good.asked)) if good.truth(index)}
        assert not boxed & may_look_absent(reply, found), (good.asked, text, reply)


@pytest.mark.parametrize("writer", ANY, ids=lambda writer: writer.__name__)
@settings(max_examples=20)
@given(seed=SEEDS)
def test_a_good_reply_is_read_in_full(writer: Writer, seed: int) -> None:
    good = good_reply(Random(seed))
    reply = read_grounding(writer(good), good.asked)
    found = outcomes(reply, len(good.asked))
    for index, boxes in enumerate(found):
        if good.truth(index):
            assert boxes == sorted(map(in_pixels, good.truth(index))), (good.asked, writer(good))
        else:
            assert not boxes, (good.asked, writer(good))
    check(good, writer(good))


@settings(max_examples=300)
@given(seed=SEEDS)
def test_entries_that_went_wrong(seed: int) -> None:
    rng = Random(seed)
    writer = rng.choice(ANY)
    good = good_reply(rng)
    for _ in range(rng.randint(1, 2)):
        good = mutated(rng, good, writer)
    check(good, writer(good))


@settings(max_examples=300)
@given(seed=SEEDS)
def test_texts_that_went_wrong(seed: int) -> None:
    rng = Random(seed)
    good, writer = good_reply(rng), rng.choice(ANY)
    text, cut = damaged(rng, writer(good))
    check(good, text, cut=cut)


@settings(max_examples=200)
@given(seed=SEEDS)
def test_both_went_wrong(seed: int) -> None:
    rng = Random(seed)
    writer = rng.choice(STRUCTURED)
    good = mutated(rng, good_reply(rng), writer)
    text, cut = (writer(good), False) if good.crossed else damaged(rng, writer(good))
    check(good, text, cut=cut)
