# SPDX-License-Identifier: Apache-2.0
"""Flickr30k Entities: ``Sentences/ID.txt`` with marked phrases, ``Annotations/ID.xml`` with boxes.

As described in BryanPlummer/flickr30k_entities (README.md, flickr30k_entities_utils.py): a phrase
is ``[/EN#CHAIN/TYPE/... words]``; an object of the XML has the chains it belongs to as ``name``s
and a ``bndbox``, or has ``nobndbox`` (not visible) or ``scene`` (the whole image). Pixels there
count from 1 and xmax, ymax are the last ones inside, so that only xmin and ymin become one less.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from image_grounding.boxes.frames import Box, Size
from image_grounding.evaluation.model import Annotation, Phrase
from image_grounding.evaluation.truth.reading import usable

_PHRASE = re.compile(r"\[/EN#(?P<chain>[^/\s\]]+)(?:/[^\s\]]*)?\s+(?P<text>[^\]]*?)\s*\]")


@dataclass
class _Objects:
    """The content of an XML file: boxes by chain, and chains that are not visible."""

    path: str
    size: Size | None
    boxes: dict[str, list[Box]] = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)

    def boxes_of(self, chain: str, left_out: Counter[str]) -> tuple[Box, ...] | None:
        if chain in self.boxes:
            return usable(self.boxes[chain], left_out)
        return () if chain in self.unseen else None


def read_flickr30k(folder: Path, left_out: Counter[str]) -> Iterator[Annotation]:
    """An annotation for each sentence."""
    for path in sorted((folder / "Sentences").glob("*.txt")):
        annotations = folder / "Annotations" / f"{path.stem}.xml"
        if not annotations.is_file():
            left_out["sentences_without_annotations"] += 1
            continue
        objects = _read_objects(annotations)
        # Not splitlines: captions may hold characters that it splits at.
        for line in path.read_text(encoding="utf-8").split("\n"):
            if line.strip():
                caption, phrases = _read_sentence(line, objects, left_out)
                yield Annotation(
                    objects.path, (path.stem,), objects.size, (caption,), tuple(phrases)
                )


def _read_sentence(
    line: str, objects: _Objects, left_out: Counter[str]
) -> tuple[str, list[Phrase]]:
    caption = ""
    phrases = []
    end = 0
    for match in _PHRASE.finditer(line):
        caption += line[end : match.start()]
        text = match["text"]
        span = (len(caption), len(caption) + len(text))
        phrases.append(Phrase(text, span, objects.boxes_of(match["chain"], left_out)))
        caption += text
        end = match.end()
    return caption + line[end:].rstrip(), phrases


def _read_objects(path: Path) -> _Objects:
    data = path.read_bytes()
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:  # entities can blow up to anything
        raise ValueError(f"{path.name} has a DOCTYPE")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise ValueError(f"{path.name}: {error}") from None
    width, height = root.findtext("size/width"), root.findtext("size/height")
    size = (int(width), int(height)) if width and height else None
    objects = _Objects(root.findtext("filename") or "", size)
    for item in root.iter("object"):
        chains = [name.text or "" for name in item.iter("name")]
        box = item.find("bndbox")
        for chain in chains:
            if box is not None:
                x1, y1, x2, y2 = (
                    int(box.findtext(side) or "") for side in ("xmin", "ymin", "xmax", "ymax")
                )
                objects.boxes.setdefault(chain, []).append((x1 - 1, y1 - 1, x2, y2))
            elif int(item.findtext("nobndbox") or 0):
                objects.unseen.add(chain)
    return objects
