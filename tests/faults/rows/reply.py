# SPDX-License-Identifier: Apache-2.0
"""Faults of what the model writes."""

import json
from functools import partial
from typing import Any

from faults.fault import BOTH, Fault, Inject, fails, goes_on
from faults.injections import always, once
from support.loopback import Answer

row = partial(Fault, "reply")
BOX = [100, 100, 500, 500]
DEEP = "[" * 100_000 + "]" * 100_000
UNPARSEABLE = fails("reply_unparseable", "holds no JSON of the wanted kind")
UNUSABLE = fails("reply_unusable", "has boxes that cannot be used")
UNANSWERED = fails("unanswered", "says neither where")


def step_0(text: str, **more: Any) -> Inject:
    """What every question for expressions is answered."""
    return always(Answer(text=text, **more), "0")


def step_1(text: str, **more: Any) -> Inject:
    """What every question for boxes is answered."""
    return always(Answer(text=text, **more), "1")


def expressions(*items: Any, cleaned: Any = "A thing and a box") -> str:
    return json.dumps({"cleaned_caption": cleaned, "expressions": list(items)})


def named(*texts: str) -> list[dict[str, str]]:
    return [{"text": text, "noun_chunk": text} for text in texts]


def boxes(*boxes_of_both: Any, **more: Any) -> str:
    """A box for each of the two expressions."""
    items = [{"id": number, "bbox_2d": box, **more} for number, box in enumerate(boxes_of_both)]
    return json.dumps({"instances": items, "absent": []})


def both_at(box: Any, **more: Any) -> str:
    return boxes(box, box, **more)


STEP_0 = {
    "prose": ("There is a dog on a sofa.", UNPARSEABLE),
    "nothing but a space": (" ", UNPARSEABLE),
    "a refusal": ("I'm sorry, but I can't help with that.", UNPARSEABLE),
    "half of its JSON": ('{"cleaned_caption": "A thing", "expr', fails("reply_truncated")),
    "100,000 brackets": (DEEP, UNPARSEABLE),
    "JSON of another kind": ('{"weather": "fine"}', UNPARSEABLE),
    "numbers as expressions": (expressions(1, 2, 3), UNPARSEABLE),
    "expressions without a text": (expressions({"noun_chunk": "x"}), UNPARSEABLE),
}
KEPT_0 = {
    "an expression that the caption does not have": expressions(*named("a unicorn", "a box")),
    "the same expression twice": expressions(*named("a thing", "a thing", "a box")),
    "controls and half characters": expressions(*named("a \x1b[31mthing\x00", "a box\ud800")),
    "an expression of 50,000 characters": expressions(*named("a " + "very " * 10_000 + "box")),
    "500 expressions": expressions(*named(*[f"thing {n}" for n in range(500)])),
    "a number as caption": expressions(*named("a box"), cleaned=7),
    "spans of its own, all wrong": expressions({"text": "a box", "char_span": [-5, 10**30]}),
    "a code fence and prose": f"Sure!\n```json\n{expressions(*named('a box'))}\n```\nMore?",
    "thoughts in front": f"<think>Is it {{a}} box?</think>{expressions(*named('a box'))}",
}
STEP_1 = {
    "prose": ("They are on the left.", UNPARSEABLE),
    "a refusal": ("I cannot identify objects in this image.", fails("reply_refused")),
    "100,000 brackets": (DEEP, UNPARSEABLE),
    "neither boxes nor that things are absent": ('{"instances": [], "absent": []}', UNANSWERED),
    "boxes outside of the picture": (both_at([1100, 1200, 1300, 1400]), UNUSABLE),
    "boxes below zero": (both_at([-500, -500, -100, -100]), UNUSABLE),
    "boxes without area": (both_at([100, 100, 100, 500]), UNUSABLE),
    "boxes of NaN": ('{"instances": [{"id": 0, "bbox_2d": [NaN, 1, 2, 3]}, '
        '{"id": 1, "bbox_2d": [1, NaN, 2, 3]}]}', UNUSABLE),
    "boxes of infinite numbers": (both_at([0, 0, 1e308, 1e308]).replace("308", "999"), UNUSABLE),
    "boxes of three numbers": (both_at([100, 100, 500]), UNUSABLE),
    "boxes of five numbers": (both_at([100, 100, 500, 500, 7]), UNUSABLE),
    "boxes of words": (both_at(["left", "top", "right", "bottom"]), UNUSABLE),
    "boxes of placeholders": (both_at(["x1", "y1", "x2", "y2"]), UNUSABLE),
}  # fmt: skip
KEPT_1 = {
    "that nothing is there": ('{"instances": [], "absent": [0, 1]}', "the expressions are absent"),
    "null as boxes": (both_at(None), "the expressions are absent"),
    "a box for one of two": (boxes(BOX), "the other is asked for alone"),
    "numbers as texts": (both_at([str(number) for number in BOX]), ""),
    "corners in the wrong order": (both_at([500, 500, 100, 100]), "put in order"),
    "boxes that leave the picture": (both_at([500, 500, 1004, 1004]), "cut off at its border"),
    "a score of 7": (both_at(BOX, score=7), "the score is left out"),
    "a score of words": (both_at(BOX, score="high"), "the score is left out"),
    "a score of NaN": (both_at(BOX, score=0.5).replace("0.5", "NaN"), "the score is left out"),
    "boxes of a thing nobody asked for": (json.dumps({"instances": [
        *json.loads(both_at(BOX))["instances"], {"id": 99, "bbox_2d": [1, 2, 3, 4]}]}),
        "it is left out"),
    "an id of 30 digits": (json.dumps({"instances": [*json.loads(both_at(BOX))["instances"],
        {"id": 10**30, "bbox_2d": [1, 2, 3, 4]}]}), "it is left out"),
    "single quotes and trailing commas": ("{'instances': [{'id': 0, 'bbox_2d': [9, 9, 500, 500],}, "
        "{'id': 1, 'bbox_2d': [9, 9, 500, 500],},],}", ""),
    "a code fence and prose": (f"Here:\n```json\n{both_at(BOX)}\n```\nDone {{.", ""),
    "a bare list": (json.dumps(json.loads(both_at(BOX))["instances"]), ""),
    "a million spaces": (both_at(BOX) + " " * 1_000_000, ""),
}  # fmt: skip

# fmt: off
FAULTS = (
    *(row(f"step 0: {what}", step_0(text), outcome) for what, (text, outcome) in STEP_0.items()),
    *(row(f"step 0: {what}", step_0(text), goes_on(
        "what can be read of it is kept")) for what, text
        in KEPT_0.items()),
    *(row(f"step 1: {what}", step_1(text), outcome) for what, (text, outcome) in STEP_1.items()),
    *(row(f"step 1: {what}", step_1(text), goes_on(how)) for what, (text, how) in KEPT_1.items()),
    row("half a character beside its JSON", step_0(f"\ud83d {expressions(*named('a box'))}"),
        goes_on("U+FFFD stands for it")),
    row("prose, once", once(Answer(text="Let me see."), "0"), goes_on("asked again"), BOTH),
    row("half of the boxes, once", once(Answer(cut=0.6, finish="length"), "1"),
        goes_on("asked again with twice the tokens")),
    row("half of the boxes, always", always(Answer(cut=0.6, finish="length"), "1"),
        fails("reply_truncated")),
)
