# SPDX-License-Identifier: Apache-2.0
r"""Flickr30k Entities: ``Sentences/NAME.txt`` and ``Annotations/NAME.xml``.

A sentence marks phrases as ``[/EN#7/people A man]``; boxes are by that number. Pixels count
from 1 with the last one included, so that ours are (xmin - 1, ymin - 1, xmax, ymax). Phrases of
type ``notvisual`` are left out, those of a scene or without a box have none.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from image_grounding.errors import InputError
from image_grounding.evaluation.truth.base import ImageKey, TruthExample, TruthPhrase, xyxy
from image_grounding.frames import Box

_PHRASE = re.compile(r"\[/EN#(\d+)/(\S+) ([^\]]*)\]")


def read_flickr30k(path: Path) -> Iterator[TruthExample]:
    """One example a sentence of every image."""
    for sentences in sorted((path / "Sentences").glob("*.txt")):
        annotation = path / "Annotations" / f"{sentences.stem}.xml"
        try:
            name, boxes = _boxes(annotation)
            lines = sentences.read_text(encoding="utf-8").splitlines()
        except (OSError, ElementTree.ParseError, ValueError, TypeError) as error:
            raise InputError(f"cannot read {sentences} or {annotation}: {error}") from None
        key = ImageKey(sentences.stem, name or f"{sentences.stem}.jpg")
        for line in filter(None, map(str.strip, lines)):
            yield _example(key, line, boxes)


def _boxes(path: Path) -> tuple[str | None, dict[str, list[Box]]]:
    root = ElementTree.parse(path).getroot()
    boxes: dict[str, list[Box]] = {}
    for item in root.iter("object"):
        sides = item.find("bndbox")
        if sides is None:
            continue
        x1, y1, x2, y2 = (
            float(sides.findtext(side, "")) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        for name in item.iter("name"):
            boxes.setdefault(name.text or "", []).append(xyxy((x1 - 1, y1 - 1, x2, y2)))
    return root.findtext("filename"), boxes


def _example(key: ImageKey, line: str, boxes: dict[str, list[Box]]) -> TruthExample:
    caption, end = "", 0
    phrases = []
    for match in _PHRASE.finditer(line):
        number, types, text = match.groups()
        caption += line[end : match.start()]
        if "notvisual" not in types.split("/"):
            span = (len(caption), len(caption) + len(text))
            phrases.append(TruthPhrase(text, span, tuple(boxes.get(number, ()))))
        caption += text
        end = match.end()
    return TruthExample(key, caption + line[end:], tuple(phrases))
