# SPDX-License-Identifier: Apache-2.0
"""Replies of a model: the readers of both steps, and the steps' whole way to a record.

Two bytes choose the expressions that were asked for, one who reads; the rest is the reply.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from image_grounding.boxes.frames import CONVENTIONS, Frame, Transport
from image_grounding.boxes.geometry import to_original
from image_grounding.families.families import UNKNOWN
from image_grounding.input.samples import Sample
from image_grounding.plain import from_plain, to_plain
from image_grounding.replies import read_extraction, read_extractions, read_grounding
from image_grounding.replies.exact import read_exact
from image_grounding.replies.grounding import GroundingReply, read_any
from image_grounding.results.records import make_record
from image_grounding.steps.extraction import EXTRACTION
from image_grounding.steps.grounding import GROUNDING
from image_grounding.steps.profile import Profile
from image_grounding.steps.question import Ask, Failure, Finish, Reply
from image_grounding.steps.step import Earlier
from image_grounding.steps.table import AnyStep
from targets import Target
from targets.strict import check_writable

_CASES = Path(__file__).resolve().parents[2] / "tests/data/replies"
_SIZE = (640, 427)
_FRAME = Frame(_SIZE, (616, 420))
_CAPTION = "We can see a red car beside two cats, and the dog."
_SAMPLE = Sample(1, "id-1", 1, "a.png", _CAPTION, {"image_path": "a.png", "caption": _CAPTION})
_EXTRACTED = {
    "cleaned_caption": "A red car beside two cats.",
    "expressions": [{"text": "A red car", "noun_chunk": "car"}, {"text": "two cats"}],
}
_BOX = {"id": 0, "label": "A red car", "bbox_2d": [10, 20, 300, 400], "score": 0.9}
_MOST_ASKS = 20


def target(folder: Path) -> Target:
    """The target; it needs no folder."""
    cases = [
        case
        for name in ("collected.json", "handed_over.json")
        for case in json.loads((_CASES / name).read_text(encoding="utf-8"))["cases"]
    ]
    asked = [case["expressions"] for case in cases]
    seeds = [
        number.to_bytes(2) + bytes([number % 6]) + case["reply"].encode(errors="replace")
        for number, case in enumerate(cases)
    ]
    several = {"captions": [{"id": number, **_EXTRACTED} for number in range(2)]}
    for value in (_EXTRACTED, several, _EXTRACTED | {"instances": [_BOX], "absent": [1]}):
        seeds += [bytes([0, 0, reader]) + json.dumps(value).encode() for reader in range(6)]

    def check(data: bytes) -> None:
        text = data[3:].decode(errors="replace")
        reader = data[2] % 6 if data[2:] else 0
        if reader == 0:
            _check_boxes(text, asked[int.from_bytes(data[:2]) % len(asked)])
        elif reader == 1:
            _check_expressions(text)
        else:
            reply = Reply(text, Finish.LENGTH if reader & 1 else Finish.STOP)
            _check_steps(reply, single_pass=reader > 3)

    words = ['"instances"', '"absent"', '"bbox_2d"', '"box_2d"', '"label"', '"score"', '"id"']
    words += ["```json\n", "<think>", "</think>", "NaN", "1e999", "null", '\\"', "},{", "]}", "[["]
    words += ['"expressions"', '"cleaned_caption"', '"text"', '"noun_chunk"', '"captions"']
    return Target(check, seeds, words, head=3)


def _check_boxes(text: str, asked: list[str]) -> None:
    close = read_any(text, asked)
    if read_exact(text, asked) is not None:
        assert read_grounding(text, asked) == close, "both readers"
    everything = set(range(len(asked)))
    named = {raw.expression for raw in close.instances}
    assert named | close.absent | close.unusable <= everything
    assert not named & close.absent and not named & close.unusable
    assert not close.absent & close.unusable
    for raw in close.instances:
        assert raw.score is None or 0 <= raw.score <= 1
    _check_pixels(close)


def _check_pixels(reply: GroundingReply) -> None:
    width, height = _SIZE
    for convention in CONVENTIONS:
        for raw in reply.instances:
            box = to_original(raw.numbers_in(convention), convention, _FRAME, Counter())
            if box is not None:
                x1, y1, x2, y2 = box
                assert all(type(side) is int for side in box)
                assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height


def _check_expressions(text: str) -> None:
    for found in (read_extraction(text), *read_extractions(text).values()):
        for expression in found.expressions:
            assert expression.text.strip() == expression.text != ""
            assert expression.noun_chunk


def _check_steps(reply: Reply, *, single_pass: bool) -> None:
    """Whatever is asked, this reply comes back; what is kept of it must be fit to be kept."""
    profile = Profile(UNKNOWN, "norm1000_xyxy", Transport(260_000), single_pass=single_pass)
    earlier = Earlier()
    for step in (EXTRACTION, GROUNDING):
        result = _outcome(step, earlier, profile, reply)
        if result is None:
            break
        assert step.is_sound(result, _SIZE, earlier)
        plain = to_plain(step.result_type, result)
        check_writable(plain)
        assert from_plain(step.result_type, plain) == result
        earlier = earlier.plus(step, result)
        check_writable(make_record(_SAMPLE, _SIZE, step, earlier))


def _outcome(step: AnyStep, earlier: Earlier, profile: Profile, reply: Reply) -> Any:
    move = step.plan(_SAMPLE, _SIZE, earlier, profile)
    for _ in range(_MOST_ASKS):
        if not isinstance(move, Ask):
            break
        move = step.read(move, [reply] * len(move.questions))
    assert not isinstance(move, Ask), "asked without end"
    if isinstance(move, Failure):
        assert move.reason and move.message
        check_writable([move.reason, move.message, move.excerpt, dict(move.dropped)])
        return None
    return move
