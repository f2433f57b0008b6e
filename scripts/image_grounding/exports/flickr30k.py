# SPDX-License-Identifier: Apache-2.0
"""Flickr30k Entities: a text file of marked sentences and an XML file of boxes an image.

As the dataset's own ``get_sentence_data`` and ``get_annotations`` read them: words and marks are
split at spaces, and pixels are counted from 1, both ends included.
"""

from contextlib import ExitStack
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from image_grounding.boxes.geometry import PixelBox
from image_grounding.exports.base import (
    Example,
    Exporter,
    Setting,
    file_stem,
    register,
    span_of,
)
from image_grounding.exports.images import image_id
from image_grounding.files import clean_text
from image_grounding.results.reading import Record

_BRACKETS = str.maketrans("[]", "()")


@register
class Flickr30k(Exporter):
    """``Sentences/<id>.txt``, ``Annotations/<id>.xml`` and a list of ids a part."""

    name = "flickr30k"
    summary = "Flickr30k Entities: marked sentences and XML boxes"
    reader = (
        "Readers of Flickr30k Entities read Sentences and Annotations; the lists of ids are the "
        "parts. An id is that of the copied image; without --copy-images the XML names the file. "
        "Every phrase is an entity of its own, of the type other. Square brackets in captions "
        "became round ones."
    )

    def __init__(self, folder: Path, setting: Setting, stack: ExitStack) -> None:
        super().__init__(folder, setting, stack)
        self._lists = {part: self.open(f"{file_stem(part)}.txt") for part in setting.parts}
        self._sentences = folder / "Sentences"
        self._annotations = folder / "Annotations"
        self._sentences.mkdir()
        self._annotations.mkdir()
        self._entities = 0

    @classmethod
    def exclusions(cls, record: Record) -> list[str | None]:
        """A mark needs a place in the sentence, and none lies in another."""
        spans = [span_of(expression, record) for expression in record.expressions]
        reasons: list[str | None] = ["expressions_without_span"] * len(spans)
        end = 0
        known = [(span, index) for index, span in enumerate(spans) if span]
        for span, index in sorted(known, key=lambda pair: (pair[0][0], -pair[0][1])):
            reasons[index] = "expressions_overlapping" if span[0] < end else None
            end = max(end, span[1])
        return reasons

    def add(self, example: Example) -> None:
        """Write the record's sentence and its boxes behind those of the same image."""
        record, name = example.record, image_id(example.image_key)
        annotation = self._annotations / f"{name}.xml"
        new = not annotation.exists()
        if new:
            self._lists[example.part].write(name + "\n")
        pieces, objects, end = [], "", 0
        marked = [
            (span, expression)
            for expression in record.expressions
            if (span := span_of(expression, record))
        ]
        for span, expression in sorted(marked, key=lambda pair: pair[0]):
            self._entities += 1
            pieces.append(_words(record.cleaned_caption[end : span[0]]))
            phrase = _words(record.cleaned_caption[slice(*span)])
            pieces.append(f"[/EN#{self._entities}/other {phrase}]")
            boxes: list[PixelBox | None] = [instance.bbox for instance in expression.instances]
            objects += "".join(_object(self._entities, box) for box in boxes or [None])
            end = span[1]
        pieces.append(_words(record.cleaned_caption[end:]))
        sentence = " ".join(piece for piece in pieces if piece)
        _append(self._sentences / f"{name}.txt", sentence + "\n")
        _append(annotation, (_head(example) if new else "") + objects)

    def finish(self) -> None:
        """Close the XML files."""
        for path in self._annotations.iterdir():
            _append(path, "</annotation>\n")


def _words(text: str) -> str:
    return clean_text(" ".join(text.translate(_BRACKETS).split()))


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(text)


def _head(example: Example) -> str:
    name, size = Element("filename"), Element("size")
    name.text = clean_text(example.image)
    for tag, value in zip(("width", "height", "depth"), (*example.record.size, 3), strict=True):
        SubElement(size, tag).text = str(value)
    return f"<annotation>\n{_xml(name)}{_xml(size)}"


def _object(entity: int, box: PixelBox | None) -> str:
    element = Element("object")
    SubElement(element, "name").text = str(entity)
    if box is None:
        SubElement(element, "scene").text = "0"
        SubElement(element, "nobndbox").text = "1"
    else:
        x1, y1, x2, y2 = box
        corners = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
        bndbox = SubElement(element, "bndbox")
        for tag, value in corners.items():
            SubElement(bndbox, tag).text = str(value)
    return _xml(element)


def _xml(element: Element) -> str:
    return tostring(element, encoding="unicode") + "\n"
