# SPDX-License-Identifier: Apache-2.0
"""ODVG JSONL, as Grounding DINO's trainers read it: a caption's regions with their phrases."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from image_grounding.errors import InputError
from image_grounding.evaluation.truth.base import ImageKey, Place, TruthExample, as_phrases, xyxy
from image_grounding.files import open_lines
from image_grounding.frames import Box
from image_grounding.spans import Span


def read_odvg(path: Path) -> Iterator[TruthExample]:
    """One example a line; raises InputError at a line that is none."""
    with open_lines(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield _example(json.loads(line))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                problem = f"{type(error).__name__}: {error}"
                raise InputError(f"{path}, line {number}: not ODVG ({problem})") from None


def _example(fields: dict[str, Any]) -> TruthExample:
    key = ImageKey(None, str(fields["filename"]))
    phrases: dict[Place, list[Box]] = {}
    if "grounding" not in fields:
        for one in fields["detection"]["instances"]:
            phrases.setdefault((str(one["category"]), None), []).append(xyxy(one["bbox"]))
        return TruthExample(key, None, as_phrases(phrases))
    grounding = fields["grounding"]
    caption = str(grounding["caption"])
    for region in grounding["regions"]:
        text = region["phrase"]
        boxes = region["bbox"]
        boxes = boxes if boxes and isinstance(boxes[0], list) else [boxes]
        place = (str(text), _span(region.get("tokens_positive")))
        phrases.setdefault(place, []).extend(xyxy(box) for box in boxes)
    return TruthExample(key, caption, as_phrases(phrases))


def _span(tokens: Any) -> Span | None:
    """The span of a phrase; None of one in several pieces."""
    if isinstance(tokens, list) and len(tokens) == 1:
        return int(tokens[0][0]), int(tokens[0][1])
    return None
