# SPDX-License-Identifier: Apache-2.0
"""RefCOCO, RefCOCO+ and RefCOCOg: refs (JSON or pickle) and ``instances.json``.

A pickle can run anything when it is read. This reader lets it build lists, tuples, sets and
dictionaries of numbers and texts, and refuses everything else.
"""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from image_grounding.errors import InputError
from image_grounding.evaluation.truth.base import (
    Place,
    TruthExample,
    as_phrases,
    load_json,
    xywh,
)
from image_grounding.evaluation.truth.coco import coco_images
from image_grounding.frames import Box

_CONTAINERS = {"list": list, "tuple": tuple, "dict": dict, "set": set, "frozenset": frozenset}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """A builtin container; raises UnpicklingError for anything else."""
        if module in ("builtins", "__builtin__") and name in _CONTAINERS:
            return _CONTAINERS[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")


def read_refcoco(path: Path) -> Iterator[TruthExample]:
    """One example an image, with its sentences as phrases and no caption.

    Args:
        path: a folder with refs and instances.json, or its file of refs.
    """
    refs = refs_file(path)
    if refs is None:
        raise InputError(f"no refs*.json or refs*.p in {path}")
    document = load_json(refs.with_name("instances.json"))
    images = coco_images(document)
    boxes = {one["id"]: xywh(one["bbox"]) for one in document["annotations"]}
    found: dict[Any, dict[Place, list[Box]]] = {}
    for ref in load_json(refs) if refs.suffix == ".json" else _load_pickle(refs):
        for sentence in ref["sentences"]:
            text = str(sentence.get("raw") or sentence["sent"])
            phrases = found.setdefault(ref["image_id"], {})
            phrases.setdefault((text, None), []).append(boxes[ref["ann_id"]])
    for image, phrases in found.items():
        yield TruthExample(images[image], None, as_phrases(phrases))


def refs_file(path: Path) -> Path | None:
    """The file of refs at ``path``; JSON where there are both."""
    if path.is_file():
        return path
    return next((one for kind in ("json", "p") for one in sorted(path.glob(f"refs*.{kind}"))), None)


def _load_pickle(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _Unpickler(file, encoding="latin1").load()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # a broken pickle fails in any way
        raise InputError(f"{path}: not a pickle of refs ({error})") from None
