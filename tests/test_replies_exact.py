# SPDX-License-Identifier: Apache-2.0
"""Replies in the requested form, read at a glance, say what the reader of any form finds."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from image_grounding.replies import read_grounding
from image_grounding.replies.exact import read_exact
from image_grounding.replies.grounding import read_any

ASKED = ("a red car", "two dogs", "the left dog", "7")
number = st.one_of(st.integers(0, 1000), st.floats(0, 1000, width=32), st.sampled_from([0, -1, 1]))
item = st.fixed_dictionaries(
    {"id": st.integers(0, 3), "bbox_2d": st.lists(number, min_size=4, max_size=4)},
    optional={
        "label": st.sampled_from([None, *ASKED, "dog", "2"]),
        "score": st.one_of(st.none(), st.floats(0, 1), st.integers(0, 2)),
    },
)


@st.composite
def replies(draw: st.DrawFn) -> str:
    """What was asked for, of which most are whole."""
    items = draw(
        st.lists(item, max_size=5, unique_by=draw(st.sampled_from([None, lambda one: one["id"]])))
    )
    named = {one["id"] for one in items}
    absent = [index for index in range(len(ASKED)) if index not in named]
    if draw(st.integers(0, 9)) == 9:
        absent = draw(st.lists(st.integers(-1, 4), max_size=3))
    key = draw(st.sampled_from(["bbox_2d", "box_2d", "bbox"]))
    for one in items:  # most labels are those of their ids
        if "label" in one and draw(st.integers(0, 4)):
            one["label"] = ASKED[one["id"]]
    items = [{key if name == "bbox_2d" else name: one[name] for name in one} for one in items]
    reply: dict[str, Any] = {"instances": items, "absent": absent}
    return json.dumps(reply, indent=draw(st.sampled_from([None, 1])))


@settings(max_examples=100)
@example('{"instances": [], "absent": [0, 1, 2, 3]}')
@example('\n{"absent": [3, 2, 1], "instances": [{"id": 0, "bbox_2d": [10, 20, 30, 40]}]} ')
@given(replies())
def test_both_readers_find_the_same(text: str) -> None:
    assert read_grounding(text, ASKED) == read_any(text, ASKED)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"instances": [{"id": 0, "bbox": [1, 2, 3, 4]}]', id="cut"),
        pytest.param('{"instances": [{"id": 0, "bbox": [1, 2, 3, 4]}]} no', id="words behind"),
        pytest.param('{"instances": [{"id": 0, "bbox": [1, 2, 3, 4]}], "note": 1}', id="more"),
        pytest.param('{"instances": [{"id": 0, "bbox": [1, 2, 3, NaN]}]}', id="no number"),
        pytest.param('{"instances": [{"id": 0, "bbox": [1, 2, 3, 1%s]}]}' % ("0" * 400), id="huge"),
        pytest.param('{"instances": [{"id": 0, "bbox": [1, 2, 3, 1e999]}]}', id="endless"),
        pytest.param('{"instances": [{"id": 0, "bbox": [0, 0, 0, 0]}]}', id="zeros"),
        pytest.param('{"instances": [{"id": 0, "bbox": [1, 2, 3, 4, 5]}]}', id="five"),
        pytest.param('{"instances": [{"id": 1, "bbox": [1, 2, 3, 4]}]}', id="counted from 1"),
        pytest.param('{"instances": [{"id": true, "bbox": [1, 2, 3, 4]}]}', id="no id"),
        pytest.param('{"instances": [{"id": 0, "id": 0, "bbox": [1, 2, 3, 4]}]}', id="twice"),
        pytest.param('{"instances": [{"id": 0, "bbox": [1, 2, 3, 4]}], "absent": [0]}', id="both"),
        pytest.param('{"instances": [{"id": 0, "bbox": [1, 2, 3, 4], "score": 7}]}', id="score"),
        pytest.param(
            '{"instances": [{"id": 0, "label": "a dog", "bbox": [1, 2, 3, 4]}]}', id="label"
        ),
        pytest.param('{"instances": [], "absent": []}', id="silent"),
        pytest.param('{"instances": {"id": 0, "bbox": [1, 2, 3, 4]}}', id="no list"),
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_everything_else_is_looked_at_closely(text: str) -> None:
    assert read_exact(text, ["a cat"]) is None


def test_the_requested_form_is_read_at_a_glance() -> None:
    text = json.dumps(
        {
            "instances": [{"id": 1, "label": "a dog", "bbox_2d": [1, 2, 3, 4.5], "score": 1}],
            "absent": [0],
        }
    )
    assert read_exact(text, ["a cat", "a dog"]) == (
        {1: ((1.0, 2.0, 3.0, 4.5), 1.0)},
        frozenset({0}),
    )
