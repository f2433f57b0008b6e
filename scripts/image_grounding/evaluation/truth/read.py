# SPDX-License-Identifier: Apache-2.0
"""Which format a truth is in, and the reader of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from image_grounding.errors import InputError
from image_grounding.evaluation.truth.base import TruthExample
from image_grounding.evaluation.truth.coco import read_coco
from image_grounding.evaluation.truth.flickr30k import read_flickr30k
from image_grounding.evaluation.truth.odvg import read_odvg
from image_grounding.evaluation.truth.records import read_records
from image_grounding.evaluation.truth.refcoco import read_refcoco, refs_file
from image_grounding.files import open_lines

FORMATS: dict[str, Callable[[Path], Iterator[TruthExample]]] = {
    "coco": read_coco,
    "odvg": read_odvg,
    "refcoco": read_refcoco,
    "flickr30k": read_flickr30k,
    "records": read_records,
}


def read_truth(path: Path, name: str = "auto") -> tuple[str, list[TruthExample]]:
    """The name of the format, and its examples.

    Raises:
        InputError: nothing is there, it is in no known format, or it holds no phrase.
    """
    if not path.exists():
        raise InputError(f"no such truth: {path}")
    try:
        name = _detect(path) if name == "auto" else name
        examples = list(FORMATS[name](path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: not a truth in the format {name} ({problem})") from None
    except (OSError, EOFError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
    if not any(example.phrases for example in examples):
        raise InputError(f"{path} ({name}) holds no phrase")
    return name, examples


def _detect(path: Path) -> str:
    if path.is_dir():
        if (path / "Sentences").is_dir():
            return "flickr30k"
        return "refcoco" if refs_file(path) else "records"
    if path.suffix in (".p", ".pkl", ".pickle"):
        return "refcoco"
    with open_lines(path) as lines:
        first = next((line for line in lines if line.strip()), b"")
    try:
        fields = json.loads(first.decode("utf-8-sig"))
    except ValueError:  # a document of several lines
        fields = None
    if isinstance(fields, dict) and ("grounding" in fields or "detection" in fields):
        return "odvg"
    if isinstance(fields, dict) and "expressions" in fields:
        return "records"
    if first.lstrip(b"\xef\xbb\xbf \t")[:1] == b"[":
        return "refcoco"
    if path.suffix == ".json":
        return "coco"
    raise InputError(f"cannot tell the format of {path}: give --truth-format")
