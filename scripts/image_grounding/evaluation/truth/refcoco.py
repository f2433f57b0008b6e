# SPDX-License-Identifier: Apache-2.0
"""RefCOCO, RefCOCO+, RefCOCOg: ``refs*.p`` or ``refs*.json`` with ``instances.json``.

Fields as the REFER API (lichengunc/refer, refer.py) reads them. Every sentence of a ref is a
referring expression of the ref's one box; sentences belong to the image, and to its caption where
it has one, as in our export.
"""

import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from image_grounding.errors import InputError
from image_grounding.evaluation.model import Annotation, Phrase
from image_grounding.evaluation.truth.reading import (
    captions_of,
    from_xywh,
    hull,
    load_json,
    size_of,
    usable,
)

# What a pickle may name: it builds lists and dicts, and calls nothing else.
_PLAIN = {"list": list, "dict": dict, "tuple": tuple}


def read_refcoco(path: Path, left_out: Counter[str]) -> Iterator[Annotation]:
    """The images of a RefCOCO folder, or of a refs file with instances.json beside it.

    An expression that an image has twice for the same box is counted once.

    Raises:
        InputError: there is no refs file, or more than one.
    """
    refs_file = _refs_file(path)
    instances = load_json(refs_file.parent / "instances.json")
    annotations = {fields["id"]: fields for fields in instances["annotations"]}
    # Per image, the expressions of each annotation in the order of the refs.
    sentences: dict[Any, dict[tuple[Any, str], None]] = defaultdict(dict)
    for ref in _load_refs(refs_file):
        of_image = sentences[ref["image_id"]]
        for sentence in ref["sentences"]:
            phrase = (ref["ann_id"], str(sentence.get("sent") or sentence["raw"]))
            left_out["repeated_phrases"] += phrase in of_image
            of_image[phrase] = None
    for image in instances["images"]:
        captions = captions_of(image)
        yield Annotation(
            image_path=str(image.get("file_name") or ""),
            image_ids=(str(image.get("original_img_id", image["id"])),),
            size=size_of(image),
            captions=captions,
            phrases=tuple(
                _phrase(text, annotations[number], captions, left_out)
                for number, text in sentences.get(image["id"], ())
            ),
        )


def _phrase(
    text: str, annotation: Mapping[str, Any], captions: tuple[str, ...], left_out: Counter[str]
) -> Phrase:
    span = hull(annotation.get("tokens_positive"), captions[0]) if captions else None
    return Phrase(text, span, usable([from_xywh(annotation["bbox"])], left_out))


def _refs_file(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("refs*.p")) or sorted(path.glob("refs*.json"))
    if not found:
        raise InputError(f"no refs*.p or refs*.json in {path}")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise InputError(f"{path} has several refs files ({names}); give one of them as --truth")
    return found[0]


def _load_refs(path: Path) -> list[Any]:
    if path.suffix == ".json":
        refs = load_json(path)
    else:
        with path.open("rb") as file:
            try:
                refs = _PlainUnpickler(file, encoding="utf-8", errors="replace").load()
            except (pickle.UnpicklingError, EOFError, ImportError) as error:
                raise InputError(f"{path} is not a pickle of plain refs: {error}") from None
    refs = refs["refs"] if isinstance(refs, dict) else refs
    if not isinstance(refs, list):
        raise ValueError("refs are not a list")
    return refs


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles lists, dicts and scalars; a pickle that names anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("builtins", "__builtin__") and name in _PLAIN:
            return _PLAIN[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
