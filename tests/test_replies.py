# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - a reply reads best on one line
"""Replies as models really write them, each with all that is to be read in it."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from image_grounding.families.families import UNKNOWN
from image_grounding.replies import (
    ExtractionReply,
    RawExpression,
    ReplyStatus,
    read_extraction,
    read_grounding,
)
from image_grounding.replies.lenient import LOST, read_values
from image_grounding.steps.prompts import (
    extraction_prompt,
    extraction_schema,
    grounding_prompt,
    grounding_schema,
    single_pass_prompt,
)

OK, REPAIRED, TRUNCATED = ReplyStatus.OK, ReplyStatus.REPAIRED, ReplyStatus.TRUNCATED
UNPARSEABLE, REFUSED = ReplyStatus.UNPARSEABLE, ReplyStatus.REFUSED

CAR, DOG = "a red car", "the dog"
TWO = (CAR, DOG)


class Row(NamedTuple):
    """``boxes``: (expression, x1, y1, x2, y2, score), in order."""

    name: str
    text: str
    status: ReplyStatus
    boxes: Sequence[tuple[Any, ...]] = ()
    dropped: Mapping[str, int] = MappingProxyType({})
    asked: Sequence[str] = TWO


WHOLE = (
    '{"instances": [{"id": 0, "label": "a red car", "bbox_2d": [10, 20, 30, 40], "score": 0.9},'
    ' {"id": 1, "label": "the dog", "bbox_2d": [5.5, 6, 7, 8], "score": 0.25}]}'
)
BOTH = [(0, 10, 20, 30, 40, 0.9), (1, 5.5, 6, 7, 8, 0.25)]
CARS = [(0, 10, 20, 30, 40, None)]
CARS_CENTRED = [(0, 10, 20, 40, 60, None)]
BOTH_BARE = [(0, 10, 20, 30, 40, None), (1, 5, 6, 7, 8, None)]
LIST = '[{"label": "a red car", "bbox_2d": [10, 20, 30, 40]}, {"label": "the dog", "bbox_2d": [5, 6, 7, 8]}]'
SCHEMA = json.dumps(grounding_schema("bbox_2d").schema)


def one(inside: str) -> str:
    return f'{{"instances": [{{"id": 0, "label": "a red car", {inside}}}]}}'


# fmt: off
GROUNDING = [
    # as asked
    Row("whole", WHOLE, OK, BOTH),
    Row("whole, indented", json.dumps(json.loads(WHOLE), indent=2), OK, BOTH),
    Row("whole, no instance", '{"instances": []}', OK),
    Row("extra fields", one('"bbox_2d": [10, 20, 30, 40], "colour": "red", "why": {"a": [1, 2]}'), OK, CARS),
    Row("extra top-level fields", WHOLE[:-1] + ', "image_size": [640, 480], "notes": null}', OK, BOTH),
    Row("several boxes of one expression", '{"instances": [{"id": 1, "label": "the dog", "bbox_2d": [1, 2, 3, 4]}, {"id": 1, "label": "the dog", "bbox_2d": [5, 6, 7, 8]}]}', OK, [(1, 1, 2, 3, 4, None), (1, 5, 6, 7, 8, None)]),
    # what stands around it
    Row("byte order mark and blanks", "\n\t " + WHOLE + " \n\n", OK, BOTH),
    Row("fence", f"```json\n{WHOLE}\n```", OK, BOTH),
    Row("fence without a language", f"```\n{WHOLE}\n```", OK, BOTH),
    Row("fence in capitals, unclosed", f"```JSON\n{WHOLE}", OK, BOTH),
    Row("prose and a fence", f"Here it is:\n```json\n{WHOLE}\n```\nI hope that helps!", REPAIRED, BOTH),
    Row("prose with stray braces", f"Use {{braces}} and [brackets]: {WHOLE} Done {{.", REPAIRED, BOTH),
    Row("a stray brace that is never closed", f"I open { '{' } and then: {WHOLE}", REPAIRED, BOTH),
    Row("a stray brace and a stray quote", f'It is 5" wide {{ or 6" maybe.\n{WHOLE}', REPAIRED, BOTH, {"malformed": 1}),
    Row("a smiley", f"Sure :-[ {WHOLE}", REPAIRED, BOTH),
    Row("think block", f"<think>Maybe [1, 2, 3, 4]? {{...}}</think>{WHOLE}", OK, BOTH),
    Row("think block with a draft in it", f'<think>{one(chr(34) + "bbox_2d" + chr(34) + ": [1, 1, 2, 2]")}</think>\n{WHOLE}', OK, BOTH),
    Row("only the end of a think block", f"It must be [1, 2, 3, 4].</think>\n\n{WHOLE}", OK, BOTH),
    Row("Kimi's think block", f"◁think▷hm [1, 2, 3, 4]◁/think▷{WHOLE}", OK, BOTH),
    Row("two think blocks", f"<think>a</think><think>[9, 9, 9, 9]</think>{WHOLE}", OK, BOTH),
    Row("think block that never ends", f"<think>I see {WHOLE}", UNPARSEABLE),
    Row("a label that speaks of thinking", '{"instances": [{"id": 0, "label": "a </think> sign", "bbox_2d": [1, 2, 3, 4]}]}', OK, [(0, 1, 2, 3, 4, None)], asked=("a </think> sign",)),
    Row("GLM's box tokens, one asked", "The car is <|begin_of_box|>[[10, 20, 30, 40]]<|end_of_box|>.", REPAIRED, CARS, asked=(CAR,)),
    Row("GLM's box tokens, two asked", "<|begin_of_box|>[[10, 20, 30, 40]]<|end_of_box|>", REPAIRED, [], {"unmatched": 1}),
    Row("tool call", f'<tool_call>{{"name": "ground", "arguments": {WHOLE}}}</tool_call>', REPAIRED, BOTH),
    Row("JSON in a JSON string", json.dumps(WHOLE), OK, BOTH),
    Row("fenced JSON in a JSON string", json.dumps(f"```json\n{WHOLE}\n```"), OK, BOTH),
    Row("escaped quotes without the string", WHOLE.replace('"', '\\"'), REPAIRED, BOTH),
    Row("blanks until the token limit", WHOLE + " \n\t" * 500, OK, BOTH),
    # not quite JSON
    Row("single quotes", WHOLE.replace('"', "'"), REPAIRED, BOTH),
    Row("single quotes with an apostrophe", "[{'label': 'the man's hat', 'bbox': [1, 2, 3, 4]}]", REPAIRED, [(0, 1, 2, 3, 4, None)], asked=("the man's hat",)),
    Row("quotes in a string, unescaped", '[{"label": "the "stop" sign", "bbox": [1, 2, 3, 4]}]', REPAIRED, [(0, 1, 2, 3, 4, None)], asked=('the "stop" sign', "a dog")),
    Row("quotes in a string, escaped", '[{"label": "the \\"stop\\" sign", "bbox": [1, 2, 3, 4]}]', OK, [(0, 1, 2, 3, 4, None)], asked=('the "stop" sign', "a dog")),
    Row("typographic quotes", WHOLE.replace('"', "”").replace("{”", "{“"), REPAIRED, BOTH),
    Row("trailing commas", WHOLE.replace("]", ",]").replace("}", ",}"), REPAIRED, BOTH),
    Row("missing commas", WHOLE.replace(",", ""), REPAIRED, BOTH),
    Row("missing comma between objects", WHOLE.replace("}, {", "}\n{"), REPAIRED, [(0, 10, 20, 30, 40, 0.9), (1, 5.5, 6, 7, 8, 0.25)]),
    Row("comments", '{"instances": [ // two\n {"id": 0, /* car */ "bbox_2d": [10, 20, 30, 40]}, # none\n]}', REPAIRED, CARS),
    Row("Python literals", "{'instances': [{'id': 0, 'label': None, 'bbox_2d': (10, 20, 30, 40), 'seen': True}]}", REPAIRED, CARS),
    Row("keys without quotes", "{instances: [{id: 0, label: 'a red car', bbox_2d: [10, 20, 30, 40]}]}", REPAIRED, CARS),
    Row("a value without quotes", '[{"id": 1, "label": the dog, "bbox": [5, 6, 7, 8]}]', REPAIRED, [(1, 5, 6, 7, 8, None)]),
    Row("a bracket too few inside", '{"instances": [{"id": 0, "bbox_2d": [10, 20, 30, 40}]}', REPAIRED, CARS),
    Row("brackets too many at the end", WHOLE + "]}}", REPAIRED, BOTH),
    Row("control characters in a string", '{"instances": [{"id": 0, "label": "a red\n\tcar", "bbox_2d": [10, 20, 30, 40]}]}', OK, CARS),
    Row("Unicode escapes", '[{"label": "le caf\\u00e9 \\ud83d\\ude00", "bbox": [1, 2, 3, 4]}]', OK, [(0, 1, 2, 3, 4, None)], asked=("le café 😀", "x")),
    Row("half of a surrogate pair", '[{"id": 1, "label": "caf\\ud83d", "bbox": [1, 2, 3, 4]}]', OK, [(0, 1, 2, 3, 4, None)], asked=("caf\ud83d", "x")),
    Row("one object a line", '{"label": "a red car", "bbox_2d": [10, 20, 30, 40]}\n{"label": "the dog", "bbox_2d": [5, 6, 7, 8]}', REPAIRED, BOTH_BARE),
    Row("one object a line, same label", '{"label": "the dog", "bbox": [1, 2, 3, 4]}\n{"label": "the dog", "bbox": [5, 6, 7, 8]}', REPAIRED, [(1, 1, 2, 3, 4, None), (1, 5, 6, 7, 8, None)]),
    # several answers
    Row("draft, then final", one('"bbox_2d": [1, 1, 2, 2]') + "\nWait, the final answer:\n" + WHOLE, REPAIRED, BOTH),
    Row("final without the draft's second thing", WHOLE + "\nNo dog after all:\n" + one('"bbox_2d": [10, 20, 30, 40]'), REPAIRED, CARS, {"contradictory": 1}),
    Row("draft, then a final that is cut", WHOLE + "\nBetter:\n" + one('"bbox_2d": [1, 1, 2, 2]')[:-2] + ', {"id": 1, "bb', TRUNCATED, [(0, 1, 1, 2, 2, None)]),
    Row("an object for each expression", one('"bbox_2d": [10, 20, 30, 40]') + '\n{"instances": [{"id": 1, "bbox_2d": [5, 6, 7, 8]}]}', REPAIRED, BOTH_BARE),
    Row("an object for each expression, the last unseen", WHOLE + '\n{"instances": []}', REPAIRED, BOTH),
    Row("zeros for what is not there", '[{"id": 0, "bbox_2d": [10, 20, 30, 40]}, {"id": 1, "bbox_2d": [0, 0, 0, 0]}]', OK, CARS),
    Row("-1 for what is not there", '{"a red car": [[10, 20, 30, 40]], "the dog": [-1, -1, -1, -1]}', OK, CARS),
    Row("draft list, then final list", '[{"label": "the dog", "bbox": [1, 1, 2, 2]}] or rather [{"label": "the dog", "bbox": [5, 6, 7, 8]}]', REPAIRED, [(1, 5, 6, 7, 8, None)]),
    Row("draft, then final, keyed", '{"the dog": [1, 1, 2, 2]} or rather {"the dog": [5, 6, 7, 8]}', REPAIRED, [(1, 5, 6, 7, 8, None)]),
    Row("one list for each expression", 'Car:\n[{"label": "a red car", "bbox": [10, 20, 30, 40]}]\nDog:\n[{"label": "the dog", "bbox": [5, 6, 7, 8]}]', REPAIRED, BOTH_BARE),
    Row("schema echoed before the answer", f"Schema: {SCHEMA}\nAnswer: {WHOLE}", REPAIRED, BOTH),
    Row("schema and nothing else", SCHEMA, UNPARSEABLE),
    Row("prompt's example echoed before the answer", '{"instances": [{"id": 0, "label": "...", "bbox_2d": [x1, y1, x2, y2], "score": 0.0}]}\n' + WHOLE, REPAIRED, BOTH),
    Row("prompt's example and nothing else", '{"instances": [{"id": 0, "label": "...", "bbox_2d": [x1, y1, x2, y2], "score": 0.0}]}', UNPARSEABLE),
    Row("prompt's example filled with zeros", '{"instances": [{"id": 0, "label": "...", "bbox_2d": [0, 0, 0, 0], "score": 0.0}]}', UNPARSEABLE),
    # other forms
    Row("bare list", LIST, OK, BOTH_BARE),
    Row("Qwen: fenced list", f"```json\n{LIST}\n```", OK, BOTH_BARE),
    Row("Gemini: box_2d first", '[{"box_2d": [20, 10, 40, 30], "label": "a red car"}]', OK, [(0, 20, 10, 40, 30, None)]),
    Row("a single object", '{"bbox_2d": [10, 20, 30, 40], "label": "a red car"}', OK, CARS),
    Row("instances as one object", '{"instances": {"label": "a red car", "bbox_2d": [10, 20, 30, 40]}}', OK, CARS),
    Row("flat box, one asked", "[10, 20, 30, 40]", OK, CARS, asked=(CAR,)),
    Row("flat box, two asked", "[10, 20, 30, 40]", OK, [], {"unmatched": 1}),
    Row("list of flat boxes, one asked", "[[10, 20, 30, 40], [5, 6, 7, 8]]", OK, [(0, 10, 20, 30, 40, None), (0, 5, 6, 7, 8, None)], asked=(CAR,)),
    Row("flat box in prose, one asked", "It is at [10, 20, 30, 40].", REPAIRED, CARS, asked=(CAR,)),
    Row("object without label or id, one asked", '{"bbox": [10, 20, 30, 40]}', OK, CARS, asked=(CAR,)),
    Row("a box in lists in lists", '[{"label": "the dog", "bbox": [[[5, 6, 7, 8]]]}]', OK, [(1, 5, 6, 7, 8, None)]),
    Row("several boxes in one object", '[{"label": "the dog", "bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]], "score": 0.5}]', OK, [(1, 1, 2, 3, 4, 0.5), (1, 5, 6, 7, 8, 0.5)]),
    Row("keyed by text: bboxes and scores", '{"a red car": {"bboxes": [[10, 20, 30, 40]], "scores": [0.9]}, "the dog": {"bboxes": [], "scores": []}}', OK, [(0, 10, 20, 30, 40, 0.9)]),
    Row("keyed by text: fewer scores than boxes", '{"the dog": {"bboxes": [[1, 2, 3, 4], [5, 6, 7, 8]], "scores": [0.9]}}', OK, [(1, 1, 2, 3, 4, 0.9), (1, 5, 6, 7, 8, None)]),
    Row("keyed by text: lists", '{"a red car": [[10, 20, 30, 40]], "the dog": [[5, 6, 7, 8]]}', OK, BOTH_BARE),
    Row("keyed by text: flat boxes", '{"a red car": [10, 20, 30, 40], "the dog": [5, 6, 7, 8]}', OK, BOTH_BARE),
    Row("keyed by text: objects", '{"a red car": {"bbox": [10, 20, 30, 40], "score": 0.9}}', OK, [(0, 10, 20, 30, 40, 0.9)]),
    Row("keyed by text: lists of objects", '{"the dog": [{"bbox": [1, 2, 3, 4], "score": 0.1}, {"bbox": [5, 6, 7, 8]}]}', OK, [(1, 1, 2, 3, 4, 0.1), (1, 5, 6, 7, 8, None)]),
    Row("keyed by text: nothing seen", '{"a red car": [], "the dog": null}', OK),
    Row("keyed by text: in words", '{"a red car": "10, 20, 30, 40", "the dog": "not visible"}', OK, CARS),
    Row("keyed by a text that is a box key", '{"box": [[10, 20, 30, 40]], "the dog": [[5, 6, 7, 8]]}', OK, BOTH_BARE, asked=("a box", DOG)),
    Row("keyed by text, other case and underscores", '{"A_Red_Car": [10, 20, 30, 40], "DOG": [5, 6, 7, 8]}', OK, BOTH_BARE),
    Row("keyed by id", '{"0": [[10, 20, 30, 40]], "1": [[5, 6, 7, 8]]}', OK, BOTH_BARE),
    Row("keyed by id from one on", '{"1": [[10, 20, 30, 40]], "2": [[5, 6, 7, 8]]}', OK, BOTH_BARE),
    Row("keyed by an expression that is a number", '{"7": [10, 20, 30, 40]}', OK, [(1, 10, 20, 30, 40, None)], asked=("a shirt", "7")),
    Row("Florence: labels beside boxes", '{"bboxes": [[10, 20, 30, 40], [5, 6, 7, 8]], "labels": ["a red car", "the dog"]}', OK, BOTH_BARE),
    *(
        Row(f"wrapped in {key}", f'{{"{key}": {LIST}}}', OK, BOTH_BARE)
        for key in ("objects", "Detections", "results", "annotations", "answer", "output")
    ),
    Row("wrapped twice", f'{{"status": "ok", "data": {{"objects": {LIST}}}}}', OK, BOTH_BARE),
    Row("wrapped and keyed", '{"result": {"a red car": [10, 20, 30, 40]}}', OK, CARS),
    # keys
    *(
        Row(f"box under {key}", one(f'"{key}": [10, 20, 30, 40]'), OK, CARS)
        for key in ("bbox", "bbox_2d", "box_2d", "box", "Bbox_2D", "BBOX-2D", "bounding box", "bboxes", "coordinates")
    ),
    Row("corners by name", one('"box": {"x1": 10, "y1": 20, "x2": 30, "y2": 40}'), OK, CARS),
    Row("corners by name in the item", one('"xmin": 10, "ymin": 20, "xmax": 30, "ymax": 40, "confidence": 1'), OK, [(0, 10, 20, 30, 40, 1.0)]),
    Row("corners by side", one('"bounding_box": {"left": 10, "top": 20, "right": 30, "bottom": 40}'), OK, CARS),
    Row("corner, width and height", one('"bbox": {"x": 10, "y": 20, "width": 30, "height": 40}'), OK, [(0, 10, 20, 40, 60, None)]),
    Row("centre, width and height", one('"cx": 25, "cy": 40, "w": 30, "h": 40'), OK, CARS_CENTRED),
    Row("corner, width and height in a list that is called so", one('"bbox_xywh": [10, 20, 20, 20]'), OK, CARS),
    Row("corner points by name", one('"box": {"top_left": [10, 20], "bottom_right": {"x": 30, "y": 40}}'), OK, CARS),
    Row("keys in capitals", WHOLE.replace("instances", "Instances").replace('"id"', '"ID"').replace('"label"', '"Label"'), OK, BOTH),
    # numbers
    Row("numbers as strings", one('"bbox": ["10", " 20 ", "30.0", "4e1"]'), OK, CARS),
    Row("numbers with units", one('"bbox": ["10px", "20px", "30px", "40px"]'), OK, [], {"malformed": 1}),
    Row("a box as a string", one('"bbox": "[10, 20, 30, 40]"'), OK, CARS),
    Row("Doubao: numbers without commas", one('"bbox": "10 20 30 40"'), OK, CARS),
    Row("numbers without commas in a list", one('"bbox": [10 20 30 40]'), REPAIRED, CARS),
    Row("a box in a sentence", one('"bbox": "from 10, 20 to 30, 40"'), OK, [], {"malformed": 1}),
    Row("null for a number", one('"bbox": [10, null, 30, 40]'), OK, [], {"malformed": 1}),
    Row("null for a box", one('"bbox": null'), OK),
    Row("no box in the list", one('"bbox": []'), OK),
    Row("no box key", one('"score": 0.9'), OK, [], {"malformed": 1}),
    Row("NaN", one('"bbox": [NaN, 20, 30, 40]'), OK, [], {"malformed": 1}),
    Row("Infinity", one('"bbox": [10, 20, Infinity, -Infinity]'), OK, [], {"malformed": 1}),
    Row("beyond all floats", one('"bbox": [10, 20, 1e999, 40]'), OK, [], {"malformed": 1}),
    Row("a number of 400 digits", one(f'"bbox": [10, 20, 30, {"9" * 400}]'), OK, [], {"malformed": 1}),
    Row("true for a number", one('"bbox": [true, 20, 30, 40]'), OK, [], {"malformed": 1}),
    Row("three numbers", one('"bbox": [10, 20, 30]'), OK, [], {"malformed": 1}),
    Row("four numbers and a score", one('"bbox": [10, 20, 30, 40, 0.9]'), OK, [(0, 10, 20, 30, 40, 0.9)]),
    Row("five numbers", one('"bbox": [10, 20, 30, 40, 50]'), OK, [], {"malformed": 1}),
    Row("the corners of a rectangle", one('"bbox": [10, 20, 30, 20, 30, 40, 10, 40]'), OK, CARS),
    Row("the corners of something else", one('"bbox": [10, 20, 30, 25, 30, 40, 10, 40]'), OK, [], {"malformed": 1}),
    Row("two points", one('"bbox": [[10, 20], [30, 40]]'), OK, CARS),
    Row("three points", one('"bbox": [[10, 20], [30, 40], [50, 60]]'), OK, [], {"malformed": 3}),
    Row("DeepSeek: a list that went wrong", one('"bbox": [245, [234, 543, 542, 244]]'), OK, [], {"malformed": 1}),
    Row("one good and one bad box", '[{"label": "the dog", "bbox": [5, 6, 7]}, {"label": "a red car", "bbox": [10, 20, 30, 40]}]', OK, CARS, {"malformed": 1}),
    Row("reversed corners are left to the conversion", one('"bbox": [30, 40, 10, 20]'), OK, [(0, 30, 40, 10, 20, None)]),
    Row("negative and signed", one('"bbox": [-10, -2.5, "+30", 40]'), OK, [(0, -10, -2.5, 30, 40, None)]),
    Row("fractions of one", one('"bbox": [0.1, .2, 0.3, 4e-1]'), REPAIRED, [(0, 0.1, 0.2, 0.3, 0.4, None)]),
    # scores
    *(
        Row(f"score {given}", one(f'"bbox": [10, 20, 30, 40], "score": {given}'), OK, [(0, 10, 20, 30, 40, score)])
        for given, score in [("1", 1.0), ("0", 0.0), ('"0.5"', 0.5), ("95", None), ("1.2", None), ("-0.1", None), ('"95%"', None), ('"high"', None), ("null", None), ("true", None), ("NaN", None), ("[0.5]", 0.5), ("{}", None)]
    ),
    # ids and labels
    Row("ids as strings", WHOLE.replace('"id": 0', '"id": "0"').replace('"id": 1', '"id": "1"'), OK, BOTH),
    Row("ids as floats", '[{"id": 1.0, "bbox": [5, 6, 7, 8]}, {"id": 0.0, "bbox": [10, 20, 30, 40]}]', OK, [(1, 5, 6, 7, 8, None), *CARS]),
    Row("an id that is none", '[{"id": 1, "bbox": [5, 6, 7, 8]}, {"id": 0.5, "bbox": [1, 2, 3, 4]}]', OK, [(1, 5, 6, 7, 8, None)], {"unmatched": 1}),
    Row("ids from one on", '[{"id": 1, "bbox": [10, 20, 30, 40]}, {"id": 2, "bbox": [5, 6, 7, 8]}]', OK, BOTH_BARE),
    Row("ids from one on, by the labels", '[{"id": 1, "label": "dog", "bbox": [1, 2, 3, 4]}, {"id": 2, "label": "dog", "bbox": [5, 6, 7, 8]}]', OK, [(0, 1, 2, 3, 4, None), (1, 5, 6, 7, 8, None)], asked=("a dog", "a dog", "a cat")),
    Row("an id beyond the list", '[{"id": 7, "bbox": [5, 6, 7, 8]}]', OK, [], {"unmatched": 1}),
    Row("a negative id", '[{"id": -1, "bbox": [5, 6, 7, 8]}]', OK, [], {"unmatched": 1}),
    Row("ids without labels", '[{"id": 1, "bbox": [5, 6, 7, 8]}]', OK, [(1, 5, 6, 7, 8, None)]),
    Row("label and id disagree", '[{"id": 0, "label": "the dog", "bbox": [5, 6, 7, 8]}]', OK, [], {"unmatched": 1}),
    Row("labels are right, ids count items", '[{"id": 0, "label": "the dog", "bbox": [5, 6, 7, 8]}, {"id": 1, "label": "the dog", "bbox": [1, 2, 3, 4]}, {"id": 2, "label": "a red car", "bbox": [10, 20, 30, 40]}]', OK, [(1, 5, 6, 7, 8, None), (1, 1, 2, 3, 4, None), *CARS]),
    Row("ids from one on, labels are right", '[{"id": 1, "label": "a red car", "bbox": [10, 20, 30, 40]}, {"id": 2, "label": "the dog", "bbox": [5, 6, 7, 8]}]', OK, BOTH_BARE),
    Row("another name with an id", '[{"id": 1, "label": "puppy", "bbox": [5, 6, 7, 8]}]', OK, [], {"unmatched": 1}),
    Row("more words for the same with an id", '[{"id": 1, "label": "dog on a sofa", "bbox": [5, 6, 7, 8]}]', OK, [(1, 5, 6, 7, 8, None)]),
    Row("no name with an id", '[{"id": 1, "label": "object 2", "bbox": [5, 6, 7, 8]}]', OK, [(1, 5, 6, 7, 8, None)]),
    Row("an unknown label", '[{"label": "zebra", "bbox": [5, 6, 7, 8]}]', OK, [], {"unmatched": 1}),
    Row("an unknown label, one asked", '[{"label": "zebra", "bbox": [5, 6, 7, 8]}]', OK, [], {"unmatched": 1}, asked=(DOG,)),
    *(
        Row(f"label {label!r}", json.dumps([{"label": label, "bbox": [10, 20, 30, 40]}]), OK, CARS)
        for label in ("A Red Car", "red car", "the red car", " a  red   car ", "a red car.", "“a red car”", "'red car'", "a_red_car", "car", "a red car (left)")
    ),
    Row("a label that fits two", '[{"label": "car", "bbox": [10, 20, 30, 40]}]', OK, [], {"unmatched": 1}, asked=("a red car", "a blue car")),
    Row("an empty label", '[{"label": "", "bbox": [10, 20, 30, 40]}]', OK, [], {"unmatched": 1}),
    Row("equal expressions by id", '[{"id": 1, "label": "a dog", "bbox": [1, 2, 3, 4]}, {"id": 0, "label": "a dog", "bbox": [5, 6, 7, 8]}]', OK, [(1, 1, 2, 3, 4, None), (0, 5, 6, 7, 8, None)], asked=("a dog", "a dog")),
    Row("equal expressions without ids", '[{"label": "a dog", "bbox": [1, 2, 3, 4]}, {"label": "dog", "bbox": [5, 6, 7, 8]}]', OK, [(0, 1, 2, 3, 4, None), (1, 5, 6, 7, 8, None)], asked=("a dog", "the dog")),
    Row("more items than equal expressions", '[{"label": "a dog", "bbox": [1, 2, 3, 4]}, {"label": "a dog", "bbox": [5, 6, 7, 8]}, {"label": "a dog", "bbox": [6, 7, 8, 9]}]', OK, [], {"unmatched": 3}, asked=("a dog", "a dog")),
    # cut
    Row("cut in the second item", WHOLE[:130], TRUNCATED, BOTH[:1]),
    Row("cut before the last bracket", WHOLE[:-1], TRUNCATED, BOTH),
    Row("cut in the first item", WHOLE[:70], TRUNCATED),
    Row("cut list", LIST[:80], TRUNCATED, CARS),
    Row("cut list, first item", LIST[:51], TRUNCATED),
    Row("cut in a fence", f"```json\n{WHOLE[:130]}", TRUNCATED, BOTH[:1]),
    Row("cut keyed object", '{"a red car": [[10, 20, 30, 40], [5, 6, 7, 8', TRUNCATED),
    Row("cut keyed object, second key", '{"a red car": [[10, 20, 30, 40]], "the dog": [[5, 6, 7, 8', TRUNCATED, CARS),
    Row("cut flat box under a key", '{"a red car": [10, 20, 30, 40', TRUNCATED),
    Row("cut in a number", '[{"label": "the dog", "bbox": [5, 6, 7, 8]}, {"label": "a red car", "bbox": [10, 20, 30, 4', TRUNCATED, [(1, 5, 6, 7, 8, None)]),
    # no answer
    Row("nothing", "", UNPARSEABLE),
    Row("blanks", " \n\t " * 100, UNPARSEABLE),
    Row("an opening bracket and blanks", '{"instances": [' + "\n" * 400, TRUNCATED),
    Row("an excuse", "I am sorry, I can't see any image.", REFUSED),
    Row("an excuse with brackets", "I can't see [the image] {at all}.", UNPARSEABLE),
    Row("a refusal and no box", 'I cannot assist with that. {"instances": []}', REFUSED),
    Row("an error beside no box", '{"instances": [], "error": "timeout"}', REFUSED),
    Row("no error", '{"error": null, "instances": [{"id": 0, "bbox": [10, 20, 30, 40]}]}', OK, CARS),
    Row("an empty list", "[]", OK),
    Row("a fenced empty list and a word", "```json\n[]\n```\nNeither is visible.", REPAIRED),
    Row("an empty list of something else", '{"cleaned_caption": "a cat", "expressions": []}', UNPARSEABLE),
    Row("an empty object", "{}", UNPARSEABLE),
    Row("null", "null", UNPARSEABLE),
    Row("a number", "42", UNPARSEABLE),
    Row("instances are null", '{"instances": null}', UNPARSEABLE),
    Row("instances are texts", '{"instances": ["a red car"]}', OK, [], {"malformed": 1}),
    Row("a refusal as JSON", '{"error": "no image", "code": 400, "details": []}', REFUSED),
    Row("markdown table", "| label | box |\n|---|---|\n| a red car | 10, 20, 30, 40 |", REPAIRED, CARS),
    Row("PaliGemma's tokens", "<loc0123><loc0234><loc0345><loc0456> a red car", UNPARSEABLE),
    Row("Molmo's points", '<point x="10.5" y="20.1" alt="a red car">a red car</point>', UNPARSEABLE),
    Row("Qwen2-VL's tokens", "<|box_start|>(10,20),(30,40)<|box_end|>", REPAIRED, [], {"unmatched": 1}),
    Row("a reply to step 0", '{"cleaned_caption": "A red car", "expressions": [{"text": "a red car", "noun_chunk": "car"}]}', OK, [], {"malformed": 1}),
]
# fmt: on


@pytest.mark.parametrize("row", GROUNDING, ids=[row.name for row in GROUNDING])
def test_grounding(row: Row) -> None:
    reply = read_grounding(row.text, row.asked)
    boxes = [(raw.expression, *raw.numbers, raw.score) for raw in reply.instances]
    assert (reply.status, boxes) == (row.status, list(row.boxes))
    assert reply.dropped == Counter(row.dropped)


NAMED = '"x_min": 10, "y_min": 20, "x_max": 30, "y_max": 40'


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (f'[{{"id": 0, {NAMED}}}]', (20, 10, 40, 30)),
        (f'[{{"id": 0, "bbox": {{{NAMED}}}}}]', (20, 10, 40, 30)),
        (f'{{"a red car": [{{{NAMED}}}]}}', (20, 10, 40, 30)),
        (f'[{{"id": 0, "boxes": [{{"box_2d": {{{NAMED}}}}}]}}]', (20, 10, 40, 30)),
        ('[{"id": 0, "box_2d": [20, 10, 40, 30]}]', (20, 10, 40, 30)),
    ],
)
def test_corners_with_names_are_what_they_are_called(text: str, numbers: tuple[int, ...]) -> None:
    """Under a convention that writes y first, too; a list is in the convention's order."""
    (raw,) = read_grounding(text, TWO).instances
    assert raw.numbers_in("norm1000_yxyx") == numbers
    assert raw.numbers_in("norm1_xyxy") == raw.numbers


@pytest.mark.parametrize(
    ("text", "unusable"),
    [
        (WHOLE, set()),
        ('[{"id": 0, "bbox_2d": [1, 2, 3]}, {"id": 1, "bbox_2d": [5, 6, 7, 8]}]', {0}),
        ('[{"id": 1, "bbox_2d": [1, null, 3, 4]}, {"id": 1, "bbox_2d": [5, 6, 7, 8]}]', {1}),
        ('[{"id": 0, "label": "a red car"}, {"id": 1, "bbox_2d": "left"}]', {0, 1}),
        ('{"a red car": [[1, 2]], "the dog": []}', {0}),
        ('[{"id": 7, "bbox_2d": [1, 2, 3]}, {"id": 1, "bbox_2d": [5, 6, 7, 8]}]', set()),
        ('[{"id": 0, "bbox_2d": null}, {"id": 1, "bbox_2d": [0, 0, 0, 0]}]', set()),
    ],
)
def test_what_is_unusable_is_not_unseen(text: str, unusable: set[int]) -> None:
    assert read_grounding(text, TWO).unusable == unusable


@pytest.mark.parametrize("damaged", ["1x", '"1x"', '"1."', "11", "null"])
def test_a_box_under_a_damaged_id_may_be_one_of_a_group(damaged: str) -> None:
    items = [f'{{"id": {id_}, "bbox_2d": [{place}, 20, {place + 20}, 40]}}'
             for place, id_ in ((10, "0"), (40, "1"), (70, damaged), (100, "1"))]  # fmt: skip
    reply = read_grounding(f"[{', '.join(items)}]", ["a dog", "people"])
    assert [raw.expression for raw in reply.instances] == [0]
    assert reply.unusable == {1}


ITEMS = ['{"id": 0, "bbox_2d": [10, 20, 30, 40]}', '{"id": 1, "bbox_2d": [5, 6, 7, 8]}']


@pytest.mark.parametrize(
    ("text", "open_ended"),
    [
        (WHOLE, False),
        (f"```json\n{WHOLE}\n", False),
        (f"[{', '.join(ITEMS)}]", False),
        ('{"instances": []}', False),
        ("\n".join(ITEMS), True),
        (ITEMS[0], True),
        (f"{ITEMS[0]}\n", True),
        (f'{{"instances": [{ITEMS[0]}]}}\n{{"instances": [{ITEMS[1]}]}}\n', True),
        ('{"expressions": ["a"]}\n{"expressions": ["b"]}', True),
    ],
)
def test_more_may_follow_a_line(text: str, open_ended: bool) -> None:
    """What the token limit ends there is not whole, though no bracket is open."""
    read = read_extraction(text) if "expressions" in text else read_grounding(text, TWO)
    assert read.open_ended is open_ended


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in GROUNDING}) == len(GROUNDING) > 80


LONG = [
    (index, f"thing {index}", [100 + index, 200 + index, 300 + index, 400 + index])
    for index in range(3)
]
FORMS = {
    "objects": json.dumps({"instances": [
        {"id": i, "label": label, "bbox_2d": box, "score": 0.5} for i, label, box in LONG
    ]}),
    "list": json.dumps([{"label": label, "bbox_2d": box} for _, label, box in LONG], indent=1),
    "keyed": json.dumps({label: {"bboxes": [box], "scores": [0.5]} for _, label, box in LONG}),
    "keyed lists": json.dumps({label: [box] for _, label, box in LONG}),
    "wrapped": json.dumps({"data": {"objects": [
        {"label": label, "box": box} for _, label, box in LONG
    ]}}),
    "prose": "Use {braces} so:\n" + json.dumps({"instances": [
        {"box_2d": box, "label": label} for _, label, box in LONG
    ]}),
    "python": repr({"instances": [{"label": label, "bbox": box} for _, label, box in LONG]}),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_reply_cut_anywhere_keeps_only_what_is_whole(form: str) -> None:
    text = FORMS[form]
    labels = [label for _, label, _ in LONG]
    assert len(read_grounding(text, labels).instances) == len(LONG)
    for end in range(len(text)):
        reply = read_grounding(text[:end], labels)
        assert reply.status in (TRUNCATED, UNPARSEABLE), text[:end]
        closed = [box for _, _, box in LONG if re.search(rf"{box[3]}\s*]", text[:end])]
        found = [list(one.numbers) for one in reply.instances]
        assert found == closed[: len(found)]
        assert len(found) >= len(closed) - 1  # an item may end behind its box
        assert not reply.dropped
        assert [one.expression for one in reply.instances] == list(range(len(found)))


def test_the_prompts_own_example_is_no_answer() -> None:
    """Whatever the family, a prompt echoed back gives no instance and no expression."""
    prompt = grounding_prompt(TWO, UNKNOWN)
    assert not read_grounding(prompt, TWO).instances
    assert read_extraction(extraction_prompt("a dog")).status is UNPARSEABLE
    both = single_pass_prompt("a dog", UNKNOWN)
    assert read_extraction(both).status is UNPARSEABLE
    assert not read_grounding(both, ["a dog"]).instances


def expressions(*texts: str) -> tuple[RawExpression, ...]:
    return tuple(RawExpression(text, text) for text in texts)


CAPTION = "A red car and the dog"
STEP_0 = (
    '{"cleaned_caption": "A red car and the dog", "expressions": ['
    '{"text": "A red car", "noun_chunk": "car"}, {"text": "the dog", "noun_chunk": "dog"}]}'
)
CAR_DOG = (RawExpression("A red car", "car"), RawExpression("the dog", "dog"))
E0_SCHEMA = json.dumps(extraction_schema().schema)

EXTRACTION: list[tuple[str, str, ExtractionReply]] = [
    ("whole", STEP_0, ExtractionReply(OK, CAPTION, CAR_DOG)),
    ("indented", json.dumps(json.loads(STEP_0), indent=1), ExtractionReply(OK, CAPTION, CAR_DOG)),
    ("fence", f"```json\n{STEP_0}\n```", ExtractionReply(OK, CAPTION, CAR_DOG)),
    ("prose", f"Sure {{}}! {STEP_0} Done.", ExtractionReply(REPAIRED, CAPTION, CAR_DOG)),
    ("think", f"<think>[{{</think>{STEP_0}", ExtractionReply(OK, CAPTION, CAR_DOG)),
    ("single quotes", STEP_0.replace('"', "'"), ExtractionReply(REPAIRED, CAPTION, CAR_DOG)),
    ("trailing commas", STEP_0.replace("]", ",]"), ExtractionReply(REPAIRED, CAPTION, CAR_DOG)),
    ("in a string", json.dumps(STEP_0), ExtractionReply(OK, CAPTION, CAR_DOG)),
    ("nothing to box", '{"cleaned_caption": "It is late", "expressions": []}',
     ExtractionReply(OK, "It is late")),
    ("keys in another case", STEP_0.replace("cleaned_caption", "Cleaned Caption")
     .replace('"text"', '"Text"'), ExtractionReply(OK, CAPTION, CAR_DOG)),
    ("other keys", '{"caption": "a cat", "phrases": [{"phrase": "a cat", "head": "cat"}]}',
     ExtractionReply(OK, "a cat", (RawExpression("a cat", "cat"),))),
    ("texts", '{"cleaned_caption": "a cat", "expressions": ["a cat", " ", 7]}',
     ExtractionReply(OK, "a cat", expressions("a cat"))),
    ("no caption", '{"expressions": ["a cat"]}', ExtractionReply(OK, None, expressions("a cat"))),
    ("an empty caption", '{"cleaned_caption": " ", "expressions": ["a cat"]}',
     ExtractionReply(OK, None, expressions("a cat"))),
    ("a caption that is no text", '{"cleaned_caption": 3, "expressions": ["a cat"]}',
     ExtractionReply(OK, None, expressions("a cat"))),
    ("bare list", '[{"text": "a cat", "noun_chunk": "cat"}]',
     ExtractionReply(OK, None, (RawExpression("a cat", "cat"),))),
    ("wrapped in an unknown key", f'{{"output": {STEP_0}}}',
     ExtractionReply(REPAIRED, CAPTION, CAR_DOG)),
    ("no noun chunk", '{"expressions": [{"text": "a cat"}, {"text": "b", "noun_chunk": null}]}',
     ExtractionReply(OK, None, expressions("a cat", "b"))),
    ("a span", '{"expressions": [{"text": "cat", "noun_chunk": "cat", "char_span": [2, 5]}]}',
     ExtractionReply(OK, None, (RawExpression("cat", "cat", (2, 5)),))),
    *[(f"no span: {span}", f'{{"expressions": [{{"text": "cat", "char_span": {span}}}]}}',
       ExtractionReply(OK, None, expressions("cat")))
      for span in ("[5, 2]", "[-1, 3]", "[2]", '"2-5"', "[2.0, 5.0]", "[0, true]", "null")],
    ("items of the wrong kind", '{"expressions": [{"text": 3}, null, [], {"text": "a cat"}]}',
     ExtractionReply(OK, None, expressions("a cat"))),
    ("only items of the wrong kind", '{"expressions": [{"id": 3}, null]}',
     ExtractionReply(UNPARSEABLE)),
    ("quotes in the caption", '{"cleaned_caption": "The "stop" sign", "expressions": ["sign"]}',
     ExtractionReply(REPAIRED, 'The "stop" sign', expressions("sign"))),
    ("a line break in the caption", '{"cleaned_caption": "a\ncat", "expressions": ["cat"]}',
     ExtractionReply(OK, "a\ncat", expressions("cat"))),
    ("another script", '{"cleaned_caption": "赤い車", "expressions": ["\\u8d64\\u3044\\u8eca"]}',
     ExtractionReply(OK, "赤い車", expressions("赤い車"))),
    ("draft, then final", f'{{"expressions": ["x"]}} No: {STEP_0}',
     ExtractionReply(REPAIRED, CAPTION, CAR_DOG)),
    ("nothing more behind it", f'{STEP_0}\n{{"expressions": []}}',
     ExtractionReply(REPAIRED, CAPTION, CAR_DOG)),
    ("schema, then answer", f"{E0_SCHEMA}\n{STEP_0}", ExtractionReply(REPAIRED, CAPTION, CAR_DOG)),
    ("schema", E0_SCHEMA, ExtractionReply(UNPARSEABLE)),
    ("example, then answer", f'{{"cleaned_caption": "...", "expressions": [{{"text": "...", '
     f'"noun_chunk": "..."}}]}}\n{STEP_0}', ExtractionReply(REPAIRED, CAPTION, CAR_DOG)),
    ("example", '{"cleaned_caption": "...", "expressions": [{"text": "...", "noun_chunk": "..."}]}',
     ExtractionReply(UNPARSEABLE)),
    ("cut in the last item", STEP_0[:-20], ExtractionReply(TRUNCATED, CAPTION, CAR_DOG[:1])),
    ("cut in the first item", STEP_0[:70], ExtractionReply(TRUNCATED, CAPTION)),
    ("cut behind the list", f'{STEP_0[:-1]}, "inst', ExtractionReply(TRUNCATED, CAPTION, CAR_DOG)),
    ("cut in the boxes", f'{STEP_0[:-1]}, "instances": [{{"id": 0, "la', ExtractionReply(
        REPAIRED, CAPTION, CAR_DOG)),
    ("cut after the caption", STEP_0[:45], ExtractionReply(TRUNCATED, CAPTION)),
    ("cut in the caption", STEP_0[:30], ExtractionReply(UNPARSEABLE)),
    ("cut list of texts", '{"expressions": ["a cat", "a do', ExtractionReply(
        TRUNCATED, None, expressions("a cat"))),
    ("a caption alone", '{"cleaned_caption": "a cat"}', ExtractionReply(UNPARSEABLE)),
    ("prose", "The expressions are: a red car, the dog.", ExtractionReply(UNPARSEABLE)),
    ("nothing", "", ExtractionReply(UNPARSEABLE)),
    ("a reply to step 1", WHOLE, ExtractionReply(REPAIRED, None, expressions(CAR, DOG))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "expected"), EXTRACTION, ids=[e[0] for e in EXTRACTION])
def test_extraction(name: str, text: str, expected: ExtractionReply) -> None:
    assert replace(read_extraction(text), open_ended=False) == expected


def test_an_extraction_cut_anywhere_keeps_only_what_is_whole() -> None:
    for end in range(len(STEP_0)):
        reply = read_extraction(STEP_0[:end])
        assert reply.status in (TRUNCATED, UNPARSEABLE)
        assert reply.cleaned_caption in (None, CAPTION)
        assert reply.expressions == CAR_DOG[: len(reply.expressions)]


VALUES = [
    ("{}[]", [{}, []]),
    ('a {"b": [1, -2.5e3, "c"]} d', [{"b": [1, -2500.0, "c"]}, [1, -2500.0, "c"]]),
    ("{'a': 1, b: 2, \"c\": , 'd': null}", [{"a": 1, "b": 2, "c": LOST, "d": None}]),
    ("[True, false, None, NaN, x1, ...]", [[True, False, None, None, "x1", "..."]]),
    ('[\'a\\\'b\', "a\\"b", "\\u00e9\\n\\q"]', [["a'b", 'a"b', "é\nq"]]),
    ("[10%, 3px, 1_0, 007, +5, 5.]", [["10%", "3px", "1_0", 7, 5, 5.0]]),
    ("[1 // [2]\n, /* [3] */ 4 # [5]\n]", [[1, 4]]),
    ("[1, [2, 3", [[1, [2]], [2]]),
    ('["whole", "cut', [["whole"]]),
    ("[{]", [[{}], {}]),
    ("]}", []),
]


@pytest.mark.parametrize(("text", "expected"), VALUES, ids=[text for text, _ in VALUES])
def test_lenient_values(text: str, expected: list[Any]) -> None:
    assert [one.value for one in read_values(text)] == expected


def test_nesting_without_end_is_not_followed() -> None:
    assert len(read_values("[" * 100_000)) == 40
    assert len(read_values('{"a":' * 100_000)) == 40
