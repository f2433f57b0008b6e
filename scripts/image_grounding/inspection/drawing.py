# SPDX-License-Identifier: Apache-2.0
"""Cards as PNG files, for readers without a browser.

Each shows the picture with its boxes, and below it the caption, the phrases and the flags.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from image_grounding.boxes.frames import Transport
from image_grounding.errors import OutputError, SampleError
from image_grounding.images.pixels import open_upright
from image_grounding.inspection.model import Card, without_box

# Okabe and Ito's colours, as on the page.
_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#f0e442")
_PIXELS = 1_000_000
_MIN_WIDTH = 480  # so that the text below a narrow picture has room
_LETTER = 18
_MARGIN = 8
_INDENT = 18
_PREFIX = "card_"


def draw_cards(cards: Iterable[Card], folder: Path) -> list[dict[str, Any]]:
    """Draw each card into a file of its own; earlier drawings in the folder are removed.

    Returns:
        For each card its sample_id, why it was picked, and its file or the problem.

    Raises:
        OutputError: the folder cannot be written.
    """
    drawn = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for earlier in folder.glob(f"{_PREFIX}*.png"):
            earlier.unlink()
        for number, card in enumerate(cards, start=1):
            entry = {"sample_id": card.record.sample_id, "picked": card.picked}
            path = folder / f"{_PREFIX}{number:03}.png"
            try:
                picture = _picture(card)
            except SampleError as error:
                drawn.append({**entry, "file": None, "problem": str(error)})
                continue
            picture.save(path)
            drawn.append({**entry, "file": str(path), "problem": None})
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from None
    return drawn


def _picture(card: Card) -> Image.Image:
    image = open_upright(card.image, Transport(_PIXELS)).convert("RGB")
    width, height = card.record.size
    scale = image.width / max(width, 1), image.height / max(height, 1)
    font = ImageFont.load_default(_LETTER)
    draw = ImageDraw.Draw(image)
    for number, expression in enumerate(card.record.expressions):
        for instance in expression.instances:
            x1, x2 = (min(max(x * scale[0], 0), image.width - 1) for x in instance.bbox[::2])
            y1, y2 = (min(max(y * scale[1], 0), image.height - 1) for y in instance.bbox[1::2])
            box = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
            draw.rectangle(box, outline="black", width=5)
            draw.rectangle(box, outline=_colour(number), width=3)
            _label(draw, box, str(number + 1), _colour(number), font)
    lines = _lines(card, font, max(image.width, _MIN_WIDTH) - 2 * _MARGIN - _INDENT)
    return _with_text(image, lines, font)


def _label(
    draw: ImageDraw.ImageDraw, box: tuple[float, ...], text: str, colour: str, font: Any
) -> None:
    """Draw the number above the box where there is room, else inside."""
    x, y = box[0], max(box[1] - _LETTER - 4, 0)
    wide = draw.textlength(text, font)
    draw.rectangle((x, y, x + wide + 8, y + _LETTER + 4), fill=colour, outline="black")
    draw.text((x + 4, y + 1), text, fill="black", font=font)


def _lines(card: Card, font: Any, width: int) -> list[tuple[str, str]]:
    """The lines below the picture, each with a colour where a new entry begins, else ""."""
    record = card.record
    texts = [("black", record.cleaned_caption)]
    for number, expression in enumerate(record.expressions):
        scores = [
            "no score" if box.score is None else f"{box.score:.2f}" for box in expression.instances
        ]
        result = ", ".join(scores) or without_box(record, number)
        texts.append((_colour(number), f"{number + 1}  {expression.text}  [{result}]"))
    texts += [("#b3261e", f"{flag.check}: {flag.detail}") for flag in card.flags]
    return [
        ("" if place else colour, line)
        for colour, text in texts
        for place, line in enumerate(_wrapped(text, font, width))
    ]


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    lines = [""]
    for word in text.encode("utf-8", "replace").decode().split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _with_text(image: Image.Image, lines: list[tuple[str, str]], font: Any) -> Image.Image:
    step = _LETTER + 6
    size = max(image.width, _MIN_WIDTH), image.height + len(lines) * step + 2 * _MARGIN
    canvas = Image.new("RGB", size, "white")
    canvas.paste(image)
    draw = ImageDraw.Draw(canvas)
    y = image.height + _MARGIN
    for colour, line in lines:
        if colour:
            draw.rectangle((_MARGIN, y + 2, _MARGIN + 10, y + _LETTER), fill=colour)
        draw.text((_MARGIN + _INDENT, y), line, fill="black", font=font)
        y += step
    return canvas


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
