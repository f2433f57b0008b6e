# SPDX-License-Identifier: Apache-2.0
"""Cards as PNG files, for those who look at pictures with other tools than a browser."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from image_grounding.errors import OutputError, SampleError
from image_grounding.frames import Transport
from image_grounding.images import open_upright
from image_grounding.inspection.model import Card

_AT_MOST = Transport(max_pixels=1_000_000)
# Okabe and Ito's colours, as on the page.
_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#f0e442")
_FONT_SIZE = 16
_LINE = 22
_TEXT_WIDTH = 90  # characters of a line of the legend


def draw_cards(cards: Sequence[Card], count: int, folder: Path) -> list[dict[str, Any]]:
    """Write the first ``count`` cards whose image can be read.

    The number of a box is that of its expression, which the legend below the picture names.

    Returns:
        For each picture its path, the sample, and the expressions with their boxes in upright
        original pixels.

    Raises:
        OutputError: ``folder`` cannot be written.
    """
    drawn: list[dict[str, Any]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for card in cards:
            if len(drawn) == count:
                break
            try:
                picture = open_upright(card.image, _AT_MOST)
            except SampleError:
                continue
            path = folder / f"{len(drawn) + 1:03}_{card.record.sample_id}.png"
            _with_legend(_with_boxes(picture, card), card).save(path)
            drawn.append(_said(card, path))
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from None
    return drawn


def _said(card: Card, path: Path) -> dict[str, Any]:
    return {
        "picture": str(path),
        "sample_id": card.record.sample_id,
        "image_path": card.record.image_path,
        "caption": card.record.cleaned_caption,
        "picked": card.picked,
        "flags": sorted({flag.check for flag in card.flags}),
        "expressions": [
            {"number": number, "text": one.text, "boxes": [list(box.bbox) for box in one.instances]}
            for number, one in enumerate(card.record.expressions, 1)
        ],
    }


def _with_boxes(picture: Image.Image, card: Card) -> Image.Image:
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(_FONT_SIZE)
    width, height = card.record.size
    across, down = picture.width / max(width, 1), picture.height / max(height, 1)
    for number, expression in enumerate(card.record.expressions):
        colour = _COLOURS[number % len(_COLOURS)]
        for instance in expression.instances:
            x1, y1, x2, y2 = instance.bbox
            left, top = x1 * across, y1 * down
            box = (left, top, max(x2 * across - 1, left), max(y2 * down - 1, top))
            pen.rectangle(box, outline="black", width=5)
            pen.rectangle(box, outline=colour, width=3)
            corner = (box[0] + 2, max(box[1] - _FONT_SIZE - 4, 0))
            label = str(number + 1)
            pen.rectangle(pen.textbbox(corner, f" {label} ", font), fill=colour)
            pen.text(corner, f" {label} ", fill="black", font=font)
    return picture


def _with_legend(picture: Image.Image, card: Card) -> Image.Image:
    lines = list(_legend(card))
    whole = Image.new("RGB", (max(picture.width, 640), picture.height + _LINE * len(lines) + 12))
    whole.paste("white", (0, 0, *whole.size))
    whole.paste(picture, (0, 0))
    pen = ImageDraw.Draw(whole)
    font = ImageFont.load_default(_FONT_SIZE)
    for place, line in enumerate(lines):
        text = line if len(line) <= _TEXT_WIDTH else line[: _TEXT_WIDTH - 3] + "..."
        pen.text((8, picture.height + 6 + place * _LINE), text, fill="black", font=font)
    return whole


def _legend(card: Card) -> Iterator[str]:
    yield " ".join(card.record.cleaned_caption.split())
    for number, expression in enumerate(card.record.expressions, 1):
        scores = [
            "no score" if one.score is None else f"{one.score:.2f}" for one in expression.instances
        ]
        text = " ".join(expression.text.split())
        yield f"{number}: {text} ({', '.join(scores) or 'no box'})"
