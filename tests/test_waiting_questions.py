# SPDX-License-Identifier: Apache-2.0
"""Questions that wait in a file: asked by one process, answered and read by others."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from image_grounding.boxes.frames import Transport
from image_grounding.families.families import family_of
from image_grounding.images.encoding import encode_image
from image_grounding.input.samples import Sample
from image_grounding.plain import from_plain, to_plain
from image_grounding.steps.annotations import Expression, Extraction
from image_grounding.steps.drive import drive
from image_grounding.steps.extraction import EXTRACTION
from image_grounding.steps.grounding import GROUNDING
from image_grounding.steps.profile import Profile
from image_grounding.steps.question import Ask, Finish, Question, Reply, Usage
from image_grounding.steps.step import Earlier, Step
from support.model import Model
from support.scenes import make_scene
from support.scripts import run_script
from support.vision import look

FAMILY = family_of("qwen3-vl")
PROFILE = Profile(FAMILY, FAMILY.convention, Transport(10**6), Transport(512 * 512))
# What a second process does: read the questions in a file, answer them by the model of the
# tests, write the replies.
COLLECT = """
import json, sys
sys.path.append(sys.argv[3])
from image_grounding.images.encoding import encode_image
from image_grounding.plain import from_plain, to_plain
from image_grounding.steps.question import Question, Reply
from support.model import Model
from support.vision import look

questions = [from_plain(Question, plain) for plain in json.load(open(sys.argv[1]))]
replies = []
for question in questions:
    picture = question.picture
    seen = look(encode_image(picture.source, picture.transport).data)
    replies.append(to_plain(Reply, Reply(Model().answer(question.prompt, seen))))
json.dump(replies, open(sys.argv[2], "w"))
"""


def collect(folder: Path, questions: Sequence[Question]) -> list[Reply]:
    """The replies to questions, by a process of its own."""
    asked, answered = folder / "questions.json", folder / "replies.json"
    asked.write_text(json.dumps([to_plain(Question, question) for question in questions]))
    script = folder / "collect.py"
    script.write_text(COLLECT)
    ran = run_script(script, str(asked), str(answered), str(Path(__file__).parent))
    assert ran.code == 0, ran.err
    return [from_plain(Reply, plain) for plain in json.loads(answered.read_text())]


def through_a_file(step: Step[Any], ask: Ask[Any]) -> Ask[Any]:
    """What is left of an ask that waited on disk."""
    kind = Ask[step.state_type]  # type: ignore[name-defined]
    return from_plain(kind, json.loads(json.dumps(to_plain(kind, ask))))


def sample_of(folder: Path) -> tuple[Sample, dict[str, Any]]:
    scene = make_scene((320, 240), seed=3)
    source = str(scene.save(folder / "scene.png"))
    return Sample(1, "scene", 1, source, scene.caption, {}), dict(scene.boxes)


def test_a_queue_takes_a_sample_through_both_steps(tmp_path: Path) -> None:
    sample, truth = sample_of(tmp_path)
    earlier = Earlier()
    for step in (EXTRACTION, GROUNDING):
        move: Any = step.plan(sample, (320, 240), earlier, PROFILE)
        while isinstance(move, Ask):
            waiting = through_a_file(step, move)
            assert waiting == move
            move = step.read(waiting, collect(tmp_path, waiting.questions))
        earlier = earlier.plus(step, move)
    for expression, found in zip(
        earlier[EXTRACTION].expressions, earlier[GROUNDING].instances, strict=True
    ):
        colour = next(name for name in truth if name in expression.text)
        assert [abs(a - b) <= 1 for a, b in zip(found[0].bbox, truth[colour], strict=True)]


def test_the_same_replies_at_once(tmp_path: Path) -> None:
    sample, _ = sample_of(tmp_path)

    class Direct:
        async def carry(self, question: Question) -> Reply:
            assert question.picture
            image = encode_image(question.picture.source, question.picture.transport)
            return Reply(Model().answer(question.prompt, look(image.data)))

    move = EXTRACTION.plan(sample, (320, 240), Earlier(), PROFILE)
    driven = asyncio.run(drive(move, EXTRACTION.read, Direct()))
    replies = collect(tmp_path, move.questions)
    assert driven.result == EXTRACTION.read(move, replies)
    assert [reply.text for reply in driven.replies] == [reply.text for reply in replies]


@pytest.mark.parametrize(
    "reply",
    [Reply("text"), Reply('"{\n红', Finish.LENGTH, Usage(3, 4), 0.25)],
)
def test_replies_have_a_json_form(reply: Reply) -> None:
    assert from_plain(Reply, json.loads(json.dumps(to_plain(Reply, reply)))) == reply


def test_what_waits_is_checked_when_it_is_read(tmp_path: Path) -> None:
    sample, _ = sample_of(tmp_path)
    expressions = (Expression("a cat", "cat", (0, 5)),)
    earlier = Earlier().plus(EXTRACTION, Extraction("a cat", expressions))
    ask = GROUNDING.plan(sample, (320, 240), earlier, PROFILE)
    assert isinstance(ask, Ask)
    plain = to_plain(Ask[GROUNDING.state_type], ask)  # type: ignore[name-defined]
    plain["state"]["texts"] = 7
    with pytest.raises(ValueError):
        from_plain(Ask[GROUNDING.state_type], plain)  # type: ignore[name-defined]
