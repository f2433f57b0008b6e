# SPDX-License-Identifier: Apache-2.0
"""The loopback model: reads our prompts, looks at the pixels, answers in its convention."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from support.scenes import COLOURS
from support.vision import Sight

_PHRASE = re.compile(rf"(?:an?|the|two|three) (?:\w+ )?(?:{'|'.join(COLOURS)}) \w+", re.IGNORECASE)
_LEAD_IN = re.compile(r"^(we can see|there is|there are|in this image,?)\s+", re.IGNORECASE)


@dataclass
class Model:
    """How the model behaves.

    ``form`` is the shape of its grounding replies: objects | keyed | list | fenced | prose.
    ``box_key`` overrides the key that the prompt asks for.
    """

    convention: str = "norm1000_xyxy"
    form: str = "objects"
    box_key: str | None = None
    blind: bool = False
    nonsense: bool = False
    with_scores: bool = True
    resize_multiple: int = 28
    resize_most: int = 1280  # squares of resize_multiple that an image is shown at
    margin: float = 0.0  # how much larger than the truth its boxes are, as a share of their sides

    def answer(self, prompt: str, seen: Sight | None) -> str:
        if captions := _after(prompt, "CAPTIONS: "):
            found = [{"id": one["id"], **self._extract(one["caption"])} for one in captions]
            return self._dressed({"captions": found})
        if caption := _after(prompt, "CAPTION: "):
            found = self._extract(str(caption))
            if asks_for_boxes(prompt):
                for number, expression in enumerate(found["expressions"]):
                    expression["id"] = number
                located = self._locate(found["expressions"], prompt, seen)
                found |= {"instances": located} if isinstance(located, list) else located
                return self._dressed(found)
            return json.dumps(found, ensure_ascii=False)
        if (expressions := _after(prompt, "EXPRESSIONS: ")) is not None:
            return self._dressed(self._locate(expressions, prompt, seen))
        if seen is not None and not self.blind:
            return seen.colour
        return "ok"

    def _extract(self, caption: str) -> dict[str, Any]:
        cleaned = _LEAD_IN.sub("", caption)
        cleaned = cleaned[:1].upper() + cleaned[1:]
        texts = [match.group() for match in _PHRASE.finditer(cleaned)]
        expressions = [{"text": text, "noun_chunk": text.split()[-1]} for text in texts]
        return {"cleaned_caption": cleaned, "expressions": expressions}

    def _locate(self, expressions: list[dict[str, Any]], prompt: str, seen: Sight | None) -> Any:
        if seen is None or self.blind:
            return {"instances": [], "absent": [e["id"] for e in expressions]}
        return self._ground(expressions, prompt, seen)

    def _ground(self, expressions: list[dict[str, Any]], prompt: str, seen: Sight) -> Any:
        key = self.box_key or asks_for_boxes(prompt) or "bbox"
        turn: dict[str, int] = {}
        items = []
        for expression in expressions:
            text = expression["text"]
            words = set(re.findall(r"\w+", text.lower()))
            colour = next((name for name in COLOURS if name in words), None)
            found = seen.boxes[colour] if colour else ()
            if words & {"a", "an", "the"}:  # one each, for equal phrases the next one
                first = turn.get(text.lower(), 0)
                turn[text.lower()] = first + 1
                found = found[first : first + 1]
            for box in found:
                score = {"score": 0.9} if self.with_scores else {}
                numbers = [13, 977, 21, 990] if self.nonsense else self.write(box, seen.size)
                items.append({"id": expression["id"], "label": text, key: numbers, **score})
        return self._shape(items, expressions, key)

    def write(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> list[float]:
        """A box in pixels as sent, in the model's convention."""
        across, down = self.margin * (box[2] - box[0]), self.margin * (box[3] - box[1])
        x1, y1, x2, y2 = box[0] - across, box[1] - down, box[2] + across, box[3] + down
        width, height = size
        match self.convention:
            case "pixel_sent":
                return [x1, y1, x2, y2]
            case "norm1_xyxy":
                numbers = (x1 / width, y1 / height, x2 / width, y2 / height)
                return [round(number, 4) for number in numbers]
            case "norm1000_xyxy":
                numbers = (x1 / width, y1 / height, x2 / width, y2 / height)
                return [round(number * 1000) for number in numbers]
            case "norm1000_yxyx":
                numbers = (y1 / height, x1 / width, y2 / height, x2 / width)
                return [round(number * 1000) for number in numbers]
            case "pixel_resized":
                w, h = server_size(width, height, self.resize_multiple, self.resize_most)
                numbers = (x1 * w / width, y1 * h / height, x2 * w / width, y2 * h / height)
                return [round(number) for number in numbers]
        raise AssertionError(self.convention)

    def _shape(self, items: list[dict[str, Any]], expressions: list[Any], key: str) -> Any:
        found = {item["id"] for item in items}
        absent = [one["id"] for one in expressions if one["id"] not in found]
        match self.form:
            case "list":
                return [{k: v for k, v in item.items() if k != "id"} for item in items]
            case "keyed":
                keyed: dict[str, Any] = {
                    expression["text"]: {"bboxes": [], "scores": []} for expression in expressions
                }
                for item in items:
                    keyed[item["label"]]["bboxes"].append(item[key])
                    keyed[item["label"]]["scores"].append(item.get("score"))
                return keyed
        return {"instances": items, "absent": absent}

    def _dressed(self, value: Any) -> str:
        match self.form:
            case "fenced":
                return f"```json\n{json.dumps(value, indent=1)}\n```"
            case "prose":
                return f"Use {{braces}} so: {json.dumps(value)} Done {{."
        return json.dumps(value)


def server_size(width: int, height: int, multiple: int, most: int = 1280) -> tuple[int, int]:
    """The size after the resize that Qwen-VL servers do (own derivation, for the truth)."""
    low, high = 4 * multiple**2, most * multiple**2
    w = max(multiple, round(width / multiple) * multiple)
    h = max(multiple, round(height / multiple) * multiple)
    if w * h > high:
        shrink = math.sqrt(width * height / high)
        w = max(multiple, math.floor(width / shrink / multiple) * multiple)
        h = max(multiple, math.floor(height / shrink / multiple) * multiple)
    elif w * h < low:
        grow = math.sqrt(low / (width * height))
        w = math.ceil(width * grow / multiple) * multiple
        h = math.ceil(height * grow / multiple) * multiple
    return w, h


def asks_for_boxes(prompt: str) -> str:
    """The key that a prompt wants boxes under; "" where it wants none."""
    asked = re.search(r"^- (\w+): the tight", prompt, re.MULTILINE)
    return asked.group(1) if asked else ""


def _after(prompt: str, marker: str) -> Any:
    """The JSON value that stands after a marker at the start of a line."""
    start = prompt.find(f"\n{marker}")
    if start < 0:
        return None
    return json.JSONDecoder().raw_decode(prompt, start + 1 + len(marker))[0]
