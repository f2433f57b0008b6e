# SPDX-License-Identifier: Apache-2.0
"""The members of objects in grounding replies: what they are called, and what they say."""

from collections.abc import Mapping
from typing import Any

from image_grounding.replies.lenient import read_values
from image_grounding.replies.numbers import (
    No,
    RawBox,
    as_number,
    box_of_members,
    boxes_in_text,
    says_none,
)
from image_grounding.replies.text import PLACEHOLDERS, first, lowered

LIST_KEYS = (
    "instances", "objects", "detections", "results", "annotations", "groundings", "predictions",
    "detected_objects", "regions",
)  # fmt: skip
SCORE_KEYS = ("score", "scores", "confidence", "confidences", "conf", "bbox_score", "prob")
# What names the phrase, what names its kind, and what describes the thing at length.
LABEL_KEYS = (
    "label", "labels", "text", "phrase", "expression", "name", "names", "referring_expression",
    "query", "ref", "target", "text_content",
)  # fmt: skip
KIND_KEYS = (
    "category", "class", "class_name", "category_name", "object", "object_name", "entity",
    "sub_label", "sublabel", "noun", "noun_chunk", "type", "kind", "tag",
)  # fmt: skip
LONG_KEYS = ("description", "desc", "caption")
ID_KEYS = (
    "id", "expression_id", "index", "expression_index", "ids", "phrase_id", "idx", "query_id",
)  # fmt: skip
ABSENT_KEYS = (
    "absent", "absent_ids", "not_visible", "not_found", "not_present", "missing", "unseen",
    "invisible", "absent_expressions", "not_in_image",
)  # fmt: skip
SEEN_KEYS = (
    "visible", "is_visible", "found", "present", "is_present", "exists", "detected", "in_image",
    "visibility", "status", "seen", "presence",
)  # fmt: skip
_NOT_SEEN = frozenset({"false", "no", "none", "0", "not_detected", "hidden"})


def not_seen(keys: Mapping[str, Any]) -> bool:
    """Whether an object says that its phrase is not to be seen."""
    if any(keys.get(name) is True for name in ABSENT_KEYS):
        return True
    for name in SEEN_KEYS:
        value = keys.get(name)
        if value is False or (value == 0 and not isinstance(value, str) and value is not None):
            return True
        if isinstance(value, str):
            text = value.strip().lower().replace(" ", "_")
            if text in _NOT_SEEN or says_none(value):
                return True
    return False


def describes(keys: Mapping[str, Any]) -> bool:
    """Whether an object has an id or a name, or lists of them."""
    for name in (*LABEL_KEYS, *KIND_KEYS, *ID_KEYS):
        value = keys.get(name)
        if isinstance(value, list) and not any(isinstance(part, dict | list) for part in value):
            return True
        if name in keys and not isinstance(value, dict | list):
            return True
    return False


def is_empty(text: str) -> bool:
    """Whether a text says nothing, or none."""
    return not text.strip() or says_none(text)


def answer_list(keys: Mapping[str, Any]) -> Any:
    """The list of an answer; a text may hold it."""
    listed = first(keys, LIST_KEYS)
    if isinstance(listed, str) and listed.lstrip()[:1] in ("[", "{"):
        return json_in(listed)
    return listed


def json_in(text: str) -> Any:
    """The one JSON value that a text is, or None."""
    values = read_values(text)
    return values[0].value if values and values[0].end >= len(text.rstrip()) else None


def is_flat(value: list[Any]) -> bool:
    """Whether a list holds numbers, nothing, or texts that are boxes."""
    numbers = any(as_number(part) is not None for part in value)
    return numbers or all(part is None or is_box_text(part) for part in value)


def is_box_text(value: Any) -> bool:
    """Whether a value is a text that is a box, or says that there is none."""
    return isinstance(value, str) and No.SENSE not in boxes_in_text(value)


def is_example(item: Any) -> bool:
    """Whether an item is the prompt's own, echoed."""
    if not isinstance(item, dict):
        return False
    keys = lowered(item)
    label = first(keys, LABEL_KEYS)
    if not isinstance(label, str) or label not in PLACEHOLDERS:
        return False
    return not any(isinstance(reading, RawBox) for reading in box_of_members(keys))
