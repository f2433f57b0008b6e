# SPDX-License-Identifier: Apache-2.0
"""Conversations for fine-tuning a vision-language model, in its own way of writing boxes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from image_grounding.boxes.frames import CONVENTIONS, Frame, Size
from image_grounding.boxes.geometry import PixelBox
from image_grounding.exports.base import Example, JsonLinesExporter, register
from image_grounding.files import clean_json
from image_grounding.results.reading import Record


@dataclass(frozen=True)
class Style:
    """How a family's replies look.

    Attributes:
        convention: a name of ``frames.CONVENTIONS``.
        box_key: the JSON key of a box.
        digits: after the point.
        square: of the image padded to a square, as LLaVA-1.5 pads (haotian-liu/LLaVA issue 606).
    """

    convention: str
    box_key: str = "bbox_2d"
    digits: int = 0
    square: bool = False

    @property
    def wording(self) -> str:
        """How a question asks for it."""
        if self.square:
            return "as fractions from 0 to 1 of the side of the image padded to a square"
        return CONVENTIONS[self.convention].wording


# ``qwen2.5`` writes pixels of the image as its processor resizes it, here with the family's own
# limits: sides a multiple of 28, at most 1280 * 28 * 28 pixels.
STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "qwen3": Style("norm1000_xyxy"),
        "qwen2.5": Style("pixel_resized"),
        "gemini": Style("norm1000_yxyx", "box_2d"),
        "llava": Style("norm1_xyxy", "bbox", digits=3, square=True),
    }
)
# What a tokenizer or a loader would read as a token of its own: <image>, <|im_end|>, </s>.
_TOKEN = re.compile(r"<(?=[|/\w][^<>\n]{0,40}>)")


@register
class VlmSft(JsonLinesExporter):
    """A record a line: one question about all phrases, one answer with all boxes."""

    name = "vlm-sft"
    summary = "conversations for fine-tuning a VLM; --convention says how boxes are written"
    reader = (
        "Trainers that take LLaVA's image and conversations keys read the lines. The qwen2.5 "
        "convention is of images resized to at most 1280 x 28 x 28 pixels: train with "
        "min_pixels 3136 and max_pixels 1003520. The llava convention is of images padded to a "
        "square: train with image_aspect_ratio pad. Texts that look like a special token, such as "
        "`<image>`, have a space after their bracket."
    )

    options = ("convention",)

    @classmethod
    def exclusions(cls, record: Record) -> list[str | None]:
        """Before step 1 has run, no box does not mean that nothing is there."""
        return [
            None if record.grounded or expression.instances else "expressions_not_looked_for"
            for expression in record.expressions
        ]

    def row(self, example: Example) -> dict[str, Any]:
        """The conversation of a record."""
        record = example.record
        style = STYLES[self.setting.convention]
        order = CONVENTIONS[style.convention].order
        phrases = list(dict.fromkeys(_plain(expression.text) for expression in record.expressions))
        question = (
            f"<image>\nCaption: {_plain(record.cleaned_caption)}\n"
            f"Locate every instance of these phrases of the caption: {clean_json(phrases)}\n"
            f'Answer with a JSON list of {{"{style.box_key}": {order}, "label": '
            f"phrase}}, boxes {style.wording}. Leave out what is not there."
        )
        answer = [
            {
                style.box_key: write_box(instance.bbox, record.size, style),
                "label": _plain(expression.text),
            }
            for expression in record.expressions
            for instance in expression.instances
        ]
        return {
            "id": record.sample_id,
            "image": example.image,
            "conversations": [
                {"from": "human", "value": question},
                {"from": "gpt", "value": clean_json(answer)},
            ],
        }


def write_box(box: PixelBox, size: Size, style: Style) -> list[float]:
    """A box in upright original pixels as a family writes it; never without an area.

    Args:
        box: in pixels of the upright image.
        size: (width, height) of that image.
        style: the family's.
    """
    if style.square:
        box, size = in_square(box, size)
    write, frame = CONVENTIONS[style.convention].from_sent, Frame(size, size)
    scale: int = 10**style.digits
    units = [round(number * scale) for number in write(box, frame)]
    most = [round(number * scale) for number in write((0, 0, *size), frame)]
    for first in (0, 1):
        if units[first] == units[first + 2]:  # thinner than a unit
            units[first + 2] += 1
            if units[first + 2] > most[first + 2]:
                units[first], units[first + 2] = units[first] - 1, units[first + 2] - 1
    return [unit / scale for unit in units] if style.digits else list(units)


def in_square(box: PixelBox, size: Size) -> tuple[PixelBox, Size]:
    """A box in an image, as a box in that image padded on both sides to a square."""
    side = max(size)
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    x1, y1, x2, y2 = box
    return (x1 + left, y1 + top, x2 + left, y2 + top), (side, side)


def _plain(text: str) -> str:
    return _TOKEN.sub("< ", text)
