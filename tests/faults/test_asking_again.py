# SPDX-License-Identifier: Apache-2.0
"""Replies that cannot be used: asked for once more, with more room where they were cut."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Project
from support.loopback import Answer, Call, Loopback
from support.scripts import run_script

Maker = Callable[..., Project]

EXCUSE = Answer(text="I am sorry, I can't see any image.")
HALF = Answer(cut=0.6, finish="length")
FILLED = Answer(text='{"instances": [' + "\n" * 200, finish="length")
UNUSABLE = Answer(text='{"instances": [{"id": 0, "label": "x", "bbox_2d": [1, 2, 3]}]}')
EMPTY_AT_LIMIT = Answer(text="", finish="length")


def limits(server: Loopback, step: str) -> list[int]:
    """The token limits of the requests of a step, in order."""
    found = []
    for call in server.calls:
        if call.step == step:
            given: dict[str, Any] = {**call.body, **call.body.get("generationConfig", {})}
            names = ("max_tokens", "max_completion_tokens", "maxOutputTokens")
            found += [given[name] for name in names if name in given]
    return found


def first_times(step: str, *answers: Answer) -> Callable[[Call], Answer | None]:
    """A fault: these answers to the first requests of a step, the model's own to the rest."""
    left = list(answers)
    return lambda call: left.pop(0) if call.step == step and left else None


def once_each(answer: Answer) -> Callable[[Call], Answer | None]:
    """A fault: this answer to the first request of each step."""
    seen = {""}
    return lambda call: None if call.step in seen else seen.add(call.step) or answer


@pytest.mark.parametrize(
    ("answer", "factor"),
    [(HALF, 2), (FILLED, 2), (EMPTY_AT_LIMIT, 2), (EXCUSE, 1), (Answer(cut=0.6), 2)],
    ids=["cut", "blanks until the limit", "nothing until the limit", "excuse", "cut, but no word"],
)
def test_a_bad_reply_is_asked_for_again(
    answer: Answer, factor: int, server: Loopback, make_project: Maker
) -> None:
    server.fault = once_each(answer)
    project = make_project(1)
    ran = project.run(server, "vlm.openai.max_tokens=500")
    assert ran.code == 0, ran.err
    assert limits(server, "0") == limits(server, "1") == [500, 500 * factor]
    assert ran.json["usage"]["asked_again"] == 2
    (record,) = project.annotations()
    assert [len(one["instances"]) for one in record["expressions"]] == [1, 1, 1]
    assert not project.failures("0") + project.failures("1")


@pytest.mark.parametrize(
    ("step", "first", "second", "reason", "factor"),
    [
        ("0", HALF, HALF, "reply_truncated", 2),
        ("1", HALF, HALF, "reply_truncated", 2),
        ("1", FILLED, FILLED, "reply_truncated", 2),
        ("1", EXCUSE, EXCUSE, "reply_refused", 1),
        ("1", HALF, EXCUSE, "reply_refused", 2),
        ("1", EXCUSE, HALF, "reply_truncated", 1),
    ],
    ids=["step 0", "cut", "blanks", "excuse", "cut, then excuse", "excuse, then cut"],
)
def test_only_then_is_it_a_failure(
    step: str, first: Answer, second: Answer, reason: str, factor: int,
    server: Loopback, make_project: Maker,
) -> None:  # fmt: skip
    """Boxes of a reply that is cut twice are not passed off as all there are."""
    server.fault = first_times(step, first, second)
    project = make_project(1)
    ran = project.run(server, "vlm.openai.max_tokens=500")
    assert ran.code == 3, ran.err
    assert limits(server, step) == [500, 500 * factor]
    assert project.annotations() == []
    (failure,) = project.failures(step)
    assert (failure["reason"], failure["attempts"]) == (reason, 2)
    start = {"reply_refused": "I am sorry"}.get(reason, "{")
    assert failure["reply_excerpt"].startswith(start)
    assert len(failure["reply_excerpt"]) <= 300
    assert (failure["image_path"], failure["line"]) == ("scene0.png", 1)


def test_boxes_that_cannot_be_used_are_asked_for_again(
    server: Loopback, make_project: Maker
) -> None:
    server.fault = first_times("1", UNUSABLE, UNUSABLE)
    project = make_project(1)
    assert project.run(server).code == 3
    (failure,) = project.failures("1")
    assert (failure["reason"], failure["attempts"]) == ("reply_unusable", 2)
    assert failure["reply_excerpt"] == UNUSABLE.text
    assert len(limits(server, "1")) == 2


def boxes(*given: list[int]) -> Answer:
    """A reply with one box for each expression that is asked for."""
    listed = [{"id": i, "bbox_2d": box} for i, box in enumerate(given)]
    return Answer(text=json.dumps({"instances": listed}))


def asked_for(server: Loopback) -> list[list[str]]:
    """The expressions that each question of step 1 lists."""
    prompts = [call.prompt for call in server.calls if call.step == "1"]
    listed = [json.loads(prompt.rpartition("EXPRESSIONS: ")[2]) for prompt in prompts]
    return [[expression["text"] for expression in found] for found in listed]


GOOD, OUTSIDE, FLAT, SHORT = [10, 10, 90, 90], [2000, 10, 2100, 90], [10, 10, 10, 90], [10, 20, 30]


@pytest.mark.parametrize(
    ("bad", "reason"), [(OUTSIDE, "outside"), (FLAT, "no_area"), (SHORT, "malformed")]
)
def test_an_expression_whose_boxes_are_all_bad_is_not_unseen(
    bad: list[int], reason: str, server: Loopback, make_project: Maker
) -> None:
    project = make_project(1)
    server.fault = first_times("1", boxes(GOOD, bad, GOOD), boxes(GOOD))
    assert project.run(server).code == 0
    (record,) = project.annotations()
    texts = [one["text"] for one in record["expressions"]]
    assert asked_for(server) == [texts, texts[1:2]]
    assert [len(one["instances"]) for one in record["expressions"]] == [1, 1, 1]
    server.fault = first_times("1", boxes(GOOD, bad, GOOD), boxes(bad))
    ran = project.run(server, "workflow.force_reprocess=true")
    assert ran.code == 3
    (failure,) = project.failures("1")
    assert failure["reason"] == "reply_unusable" and f"2 x {reason}" in failure["message"]
    assert ran.json["counts"]["dropped_boxes"] == {reason: 2}
    assert project.annotations() == []


def absent(*ids: int, **fields: Any) -> Answer:
    return Answer(text=json.dumps({"instances": [], "absent": list(ids), **fields}))


def test_absence_is_said(server: Loopback, make_project: Maker) -> None:
    server.fault = first_times("1", absent(0, 1, 2))
    project = make_project(1)
    assert project.run(server).code == 0
    (record,) = project.annotations()
    assert [one["status"] for one in record["expressions"]] == ["absent"] * 3
    assert len(limits(server, "1")) == 1


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        # What is not answered is asked for alone; then only a word, or a list that has no place
        # for absence, makes it absent.
        (absent(0, 2), absent(0), "absent"),
        (absent(0, 2), boxes(GOOD), "grounded"),
        (absent(0, 2), absent(), "unanswered"),
        (absent(0, 2), Answer(text="[]"), "absent"),
        (Answer(text="[]"), Answer(text="[]"), "absent"),
        (absent(), absent(0, 1, 2), "absent"),
        (absent(), absent(), "unanswered"),
        # What had a box that cannot be used is not unseen because the model falls silent.
        (boxes(GOOD, FLAT, GOOD), Answer(text="[]"), "reply_unusable"),
        (absent(0, 2, note="x"), Answer(text='[{"bbox_2d": [10, 10, 9'), "reply_truncated"),
    ],
)  # fmt: skip
def test_what_is_not_answered_is_asked_for_alone(
    first: Answer, second: Answer, status: str, server: Loopback, make_project: Maker
) -> None:
    server.fault = first_times("1", first, second, second)
    project = make_project(1)
    ran = project.run(server)
    whole = first.text in ("[]", absent().text)
    count = len(asked_for(server)[1])
    assert count == (3 if whole else 1)
    if status in ("absent", "grounded"):
        assert ran.code == 0, ran.err
        (record,) = project.annotations()
        assert record["expressions"][1]["status"] == status
    else:
        assert ran.code == 3
        assert project.annotations() == []
        assert [one["reason"] for one in project.failures("1")] == [status]


def test_a_reply_cut_between_two_lines_is_cut(server: Loopback, make_project: Maker) -> None:
    line = Answer(text='{"id": 0, "bbox_2d": [10, 10, 90, 90]}\n', finish="length")
    server.fault = first_times("1", line)
    project = make_project(1)
    assert project.run(server, "vlm.openai.max_tokens=500").code == 0
    assert limits(server, "1") == [500, 1000]
    (record,) = project.annotations()
    assert [len(one["instances"]) for one in record["expressions"]] == [1, 1, 1]


def test_a_whole_reply_that_met_the_limit_is_whole(server: Loopback, make_project: Maker) -> None:
    """Guided decoding may add blanks until the limit: nothing is missing of the JSON."""
    server.fault = lambda call: Answer(finish="length")
    project = make_project(1)
    assert project.run(server).code == 0
    assert len(server.calls) == 2


def test_the_other_name_of_the_token_limit_grows_too(server: Loopback, make_project: Maker) -> None:
    server.refused = {"max_tokens": "Unsupported: 'max_tokens'. Use 'max_completion_tokens'."}
    server.fault = first_times("1", HALF)
    project = make_project(1)
    assert project.run(server, "vlm.openai.max_tokens=500").code == 0
    assert limits(server, "1") == [500, 1000]
    assert "max_completion_tokens" in server.calls[-1].body


def test_gemini_is_asked_again_the_same_way(server: Loopback, make_project: Maker) -> None:
    server.names = ["gemini-3.5-flash-lite"]
    server.fault = first_times("1", Answer(cut=0.6, finish="MAX_TOKENS"))
    project = make_project(1)
    ran = run_script(
        "run_pipeline.py", f"results_dir={project.results}", f"data.input_jsonl={project.input}",
        f"data.image_root={project.folder}", f"vlm.gemini.base_url={server.gemini_url}",
        "vlm.coordinates=norm1000_xyxy", "vlm.gemini.max_output_tokens=700",
        GOOGLE_API_KEY="a-key-for-tests",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert limits(server, "1") == [700, 1400]


def test_no_key_comes_back_in_a_reply(server: Loopback, make_project: Maker) -> None:
    """A proxy that echoes its request."""
    server.key = "a-key-for-tests"
    echo = Answer(text=f"No JSON, but Authorization: Bearer {server.key}")
    server.fault = lambda call: echo if call.step == "0" else None
    project = make_project(1)
    ran = project.run(server, "vlm.openai.api_key=${oc.env:MY_KEY}", MY_KEY=server.key)
    assert ran.code == 3, ran.err
    (failure,) = project.failures("0")
    assert failure["reply_excerpt"] == "No JSON, but Authorization: Bearer (key)"


def test_an_excerpt_is_one_record_whatever_the_model_wrote(
    server: Loopback, make_project: Maker
) -> None:
    text = 'no\nJSON "here" \x00 \u2028 \ud83d ' + "x" * 1000
    server.fault = lambda call: Answer(text=text) if call.step == "0" else None
    project = make_project(1)
    assert project.run(server).code == 3
    (failure,) = project.failures("0")
    assert failure["reply_excerpt"] == text[:300].replace("\ud83d", "\ufffd")
    raw = (project.results / "step_0_expression_extraction" / "failures.jsonl").read_bytes()
    assert raw.count(b"\n") == 1
