# SPDX-License-Identifier: Apache-2.0
"""Step 0 for several captions of a picture in one request: the same results, fewer requests."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Project, write_jsonl
from image_grounding.replies import ReplyStatus, read_extraction
from image_grounding.steps.question import Reply
from image_grounding.steps.together import parts_of
from support.kept import checkpoints, replace_checkpoints
from support.loopback import Answer, Call, Loopback, after_calls
from support.model import Model

Maker = Callable[..., Project]
Entries = list[dict[str, Any]]
TOGETHER = "workflow.captions_per_request=5"
AFRESH = "workflow.force_reprocess=true"
PATTERNS = (
    "We can see a {} rectangle and a {} rectangle",
    "a {1} rectangle beside a {2} rectangle",
    "There is a {2} rectangle in the field",
    "a flat {0} rectangle near a {2} rectangle",
    "some art with a {2} rectangle and a {1} rectangle and a {0} rectangle",
)


def captions_of(project: Project, image: str) -> list[str]:
    colours = [name for name, _ in project.scenes[image].boxes]
    return [f"{pattern.format(*colours)} at {Path(image).stem}" for pattern in PATTERNS]


@pytest.fixture
def make_five(make_project: Maker) -> Maker:
    """Pictures with five captions each, one behind the other."""

    def make(count: int = 1) -> Project:
        project = make_project(count, size=(96, 64))
        rows = [
            {"image_path": image, "caption": caption}
            for image in project.scenes
            for caption in captions_of(project, image)
        ]
        write_jsonl(project.input, rows)
        return project

    return make


def asked(server: Loopback) -> dict[str, int]:
    """How many requests there were of each step since the last look."""
    counts = Counter(call.step for call in server.calls)
    server.calls.clear()
    return dict(counts)


def outputs(project: Project) -> list[bytes]:
    return [path.read_bytes() for path in sorted(project.results.rglob("annotations.jsonl"))]


def step_0(project: Project) -> dict[str, Any]:
    """What is kept of step 0, but for the version of the prompt; replies by what they say."""
    kept = checkpoints(project.results, "0")
    for value in kept.values():
        del value["provenance"]["prompt_version"]
        for reply in value["replies"]:
            reply["text"] = json.loads(reply["text"])
    return kept


def changed(server: Loopback, change: Callable[[Entries], None]) -> Callable[[Call], Answer | None]:
    """A fault: the model's replies for several captions, with a change."""

    def fault(call: Call) -> Answer | None:
        if call.step != "0s":
            return None
        value = json.loads(server.model.answer(call.prompt, None))
        change(value["captions"])
        return Answer(text=json.dumps(value))

    return fault


@pytest.mark.parametrize("form", ["objects", "prose"])
def test_the_same_for_fewer_requests(form: str, make_five: Maker) -> None:
    project = make_five(2)
    with Loopback() as server:
        assert project.run(server).code == 0
        assert asked(server) == {"0": 10, "1": 10}
        wanted, kept = outputs(project), step_0(project)
        server.model = Model(form=form)
        ran = project.run(server, TOGETHER, AFRESH)
        assert ran.code == 0, ran.err
        pictures = {call.image for call in server.calls if call.step == "0s"}
        assert asked(server) == {"0s": 2, "1": 10}
        assert len(pictures) == 2
        assert (outputs(project), step_0(project)) == (wanted, kept)
        assert ran.json["teacher"]["prompt_version"] == "1-captions"
        assert ran.json["counts"]["annotated_by_step"] == {"0": 10, "1": 10}
        assert ran.json["usage"]["requests"] == 12 + 1  # and the probe
        assert ran.json["usage"]["input_tokens"] == 13 * 100
        assert project.run(server, "workflow.captions_per_request=2", AFRESH).code == 0
        assert asked(server) == {"0s": 4, "0": 2, "1": 10}
        assert outputs(project) == wanted


def lacks_one(entries: Entries) -> None:
    del entries[2]


def swaps_two(entries: Entries) -> None:
    entries[0]["id"], entries[1]["id"] = 1, 0


def swaps_expressions(entries: Entries) -> None:
    first, last = entries[1], entries[4]
    first["expressions"], last["expressions"] = last["expressions"], first["expressions"]


def gives_one_twice(entries: Entries) -> None:
    entries[3] = {**entries[1], "id": 3}


def repeats_an_id(entries: Entries) -> None:
    entries.append({**entries[4], "expressions": entries[4]["expressions"][:1]})


def leaves_one_empty(entries: Entries) -> None:
    entries[2]["expressions"] = []


def rewrites_one(entries: Entries) -> None:
    entries[2]["cleaned_caption"] = "A picture of nothing"


def has_one_unreadable(entries: Entries) -> None:
    entries[0]["expressions"][1] = {"noun_chunk": "rectangle"}


def counts_from_one(entries: Entries) -> None:
    for entry in entries:
        entry["id"] += 1


# What becomes of a reply, and how many of its five captions are then asked about alone.
REPLIES: tuple[tuple[Callable[[Entries], None] | Answer, int], ...] = (
    (lambda entries: None, 0),
    (lacks_one, 1),
    (swaps_two, 2),
    (swaps_expressions, 2),
    (gives_one_twice, 2),
    (repeats_an_id, 1),
    (leaves_one_empty, 1),
    (rewrites_one, 1),
    (has_one_unreadable, 1),
    (counts_from_one, 5),
    (Answer(cut=0.5, finish="length"), 3),
    (Answer(cut=0.1), 5),
    (Answer(text="I am sorry, I can't see any image."), 5),
    (Answer(status=400, message="too long"), 5),
)


def test_what_is_in_doubt_is_asked_alone(server: Loopback, make_five: Maker) -> None:
    project = make_five(len(REPLIES))
    # A rejected request is tried without a schema, too.
    spec = ('workflow.steps=["0"]', "vlm.structured_output=false")
    assert project.run(server, *spec).code == 0
    wanted, kept = outputs(project), step_0(project)
    asked(server)

    def picture_of(call: Call) -> int:
        (number,) = set(re.findall(r"at scene(\d+)", call.prompt))
        return int(number)

    def fault(call: Call) -> Answer | None:
        if call.step != "0s":
            return None
        what = REPLIES[picture_of(call)][0]
        return what if isinstance(what, Answer) else changed(server, what)(call)

    server.fault = fault
    ran = project.run(server, *spec, TOGETHER, AFRESH)
    assert ran.code == 0, ran.err
    alone = Counter(picture_of(call) for call in server.calls if call.step == "0")
    found = [alone[place] for place in range(len(REPLIES))]
    assert found == [count for _, count in REPLIES]
    assert asked(server) == {"0s": len(REPLIES), "0": sum(found)}
    assert ran.json["usage"]["asked_again"] == sum(found)
    assert (outputs(project), step_0(project)) == (wanted, kept)


def test_a_caption_that_fails_spoils_no_other(server: Loopback, make_five: Maker) -> None:
    project = make_five()
    bad = "\nCAPTION: " + json.dumps(captions_of(project, "scene0.png")[2])
    excuse = Answer(text="I am sorry.")
    lacking = changed(server, lacks_one)
    server.fault = lambda call: excuse if bad in call.prompt else lacking(call)
    ran = project.run(server, TOGETHER)
    assert ran.code == 3
    assert asked(server) == {"0s": 1, "0": 2, "1": 4}
    (failure,) = project.failures("0")
    assert (failure["line"], failure["reason"], failure["attempts"]) == (3, "reply_unparseable", 2)
    assert len(project.annotations()) == 4
    server.fault = lambda call: None
    assert project.run(server, TOGETHER).code == 0
    assert asked(server) == {"0": 1, "1": 1}


def test_only_what_is_missing_is_asked_for(server: Loopback, make_five: Maker) -> None:
    project = make_five()
    assert project.run(server).code == 0
    wanted = outputs(project)
    kept = sorted(checkpoints(project.results, "0").items())
    lines = [json.dumps(value) for _, value in kept[:1] + kept[4:]]
    replace_checkpoints(project.results, "0", lines)
    asked(server)
    dry = project.run(server, TOGETHER, "--dry-run").json["estimate"]
    assert dry["requests_by_step"] == {"0": 1, "1": 3}
    ran = project.run(server, TOGETHER)
    assert ran.code == 0, ran.err
    assert asked(server) == {"0s": 1, "1": 3}
    assert ran.json["counts"]["from_checkpoints"] == 2
    assert outputs(project) == wanted
    assert project.run(server, TOGETHER).code == 0
    assert asked(server) == {}


def test_kept_replies_are_read_again(server: Loopback, make_five: Maker) -> None:
    project = make_five()
    assert project.run(server, TOGETHER).code == 0
    wanted = outputs(project)
    asked(server)
    for more in ((), (TOGETHER,), ("workflow.single_pass=true",)):
        ran = project.run(server, "workflow.reread=true", *more)
        assert (ran.code, asked(server)) == (0, {}), ran.err
        assert outputs(project) == wanted


def test_killed_in_the_middle(server: Loopback, make_five: Maker) -> None:
    project = make_five(8)
    process = project.start(server, TOGETHER)
    after_calls(server, 20, process.kill)
    process.communicate()
    server.fault = lambda call: None
    asked(server)
    ran = project.run(server, TOGETHER)
    assert ran.code == 0, ran.err
    assert ran.json["counts"]["from_checkpoints"] > 0
    assert asked(server)["1"] < 40
    assert len(project.annotations()) == 40
    assert len(set(project.ids())) == len(project.ids())


def test_a_budget_keeps_what_is_paid_for(server: Loopback, make_five: Maker) -> None:
    project = make_five()
    ran = project.run(server, TOGETHER, "workflow.max_requests=1")  # the probe
    assert (ran.code, asked(server), project.failures("0")) == (3, {}, []), ran.err
    ran = project.run(server, TOGETHER, "workflow.max_requests=4")
    assert (ran.code, asked(server)) == (3, {"0s": 1, "1": 2}), ran.err
    assert project.run(server, TOGETHER).code == 0
    assert asked(server) == {"1": 3}


def test_lines_that_are_no_neighbours(server: Loopback, make_five: Maker) -> None:
    """A bad line and other pictures stand between; a repeated line is asked about once."""
    project = make_five(2)
    rows = [json.loads(line) for line in project.input.read_text().splitlines()]
    first, second = rows[:5], rows[5:]
    write_jsonl(
        project.input,
        [*first[:2], "no JSON", first[2], second[0], first[3], first[4], first[4], first[3]],
    )
    dry = project.run(server, TOGETHER, "--dry-run").json["estimate"]
    ran = project.run(server, TOGETHER)
    assert ran.code == 3, ran.err
    assert asked(server) == {"0s": 2, "0": 2, "1": 6}
    assert dry["requests_by_step"] == {"0": 4, "1": 6}
    assert len(project.annotations()) == 8


def test_a_picture_that_is_missing(server: Loopback, make_five: Maker) -> None:
    project = make_five(2)
    (project.folder / "scene0.png").unlink()
    ran = project.run(server, TOGETHER)
    assert (ran.code, asked(server)) == (3, {"0s": 1, "1": 5}), ran.err
    assert [one["reason"] for one in project.failures("0")] == ["image_missing"] * 5


@pytest.mark.parametrize("more", ["workflow.single_pass=true", "vlm.image.step_0=false"])
def test_with_other_savings(more: str, server: Loopback, make_five: Maker) -> None:
    """A single pass goes before; text alone is shared as well."""
    project = make_five()
    ran = project.run(server, TOGETHER, more)
    assert ran.code == 0, ran.err
    single = "single" in more
    version = "1-single-pass" if single else "1-captions"
    assert ran.json["teacher"]["prompt_version"] == version
    assert [call.image for call in server.calls if call.step == "0s"] == ([] if single else [None])
    assert asked(server) == ({"0+1": 5} if single else {"0s": 1, "1": 5})


def test_an_estimate_counts_what_is_shared(server: Loopback, make_five: Maker) -> None:
    project = make_five(2)
    alone, together = (
        project.run(server, f"workflow.captions_per_request={most}", "--dry-run").json["estimate"]
        for most in (1, 5)
    )
    assert alone["requests_by_step"] == {"0": 10, "1": 10}
    assert together["requests_by_step"] == {"0": 2, "1": 10}
    assert together["text_tokens"] < alone["text_tokens"]
    assert together["output_tokens"] == alone["output_tokens"]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=30)
@given(TEXTS | st.recursive(st.integers() | TEXTS, st.lists, max_leaves=5).map(json.dumps))
def test_any_reply_is_read(text: str) -> None:
    assert parts_of(Reply(text), ["a cat", "a dog"]) == [None, None]


def test_what_any_of_two_captions_may_mean_is_no_part() -> None:
    captions = ["A dog.", "Look, a dog", "Two cats on a mat", "two cats, and a dog"]
    entries = [
        {"id": place, "cleaned_caption": caption, "expressions": ["dog" if place < 2 else "cats"]}
        for place, caption in enumerate(captions)
    ]
    parts = parts_of(Reply(json.dumps({"captions": entries})), captions)
    assert [part is not None for part in parts] == [False, True, True, True]
    same = parts_of(Reply(json.dumps(entries[:2])), ["A dog.", "a dog"])
    assert same == [None, None]


def test_a_part_reads_as_an_ordinary_reply() -> None:
    entry = {"id": 1, "cleaned_caption": "a \ud83d dog", "phrases": ["a \ud83d dog"]}
    none, part = parts_of(Reply(json.dumps([entry])), ["a cat", "Look: a \ud83d dog"])
    assert none is None and part
    found = read_extraction(part.text)
    assert (found.status, found.cleaned_caption) == (ReplyStatus.OK, "a \ufffd dog")
    assert [raw.text for raw in found.expressions] == ["a \ufffd dog"]
