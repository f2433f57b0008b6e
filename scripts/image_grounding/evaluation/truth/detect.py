# SPDX-License-Identifier: Apache-2.0
"""Which format a truth is in, by its content."""

import re
from pathlib import Path
from typing import Any

from image_grounding.errors import InputError
from image_grounding.evaluation.truth.reading import load_json
from image_grounding.files import open_lines, strict_json
from image_grounding.steps.table import all_steps

_PART = re.compile(r"(annotations|train|val|test)\.jsonl?(\.gz)?")
_ODVG_KEYS = {"grounding", "detection", "referring"}


def locate(path: Path) -> Path:
    """The file of a folder that an export wrote; every other path as it is.

    Raises:
        InputError: the folder holds several parts.
    """
    if not path.is_dir() or any((path / step.folder_name).is_dir() for step in all_steps()):
        return path
    found = sorted(file for file in path.iterdir() if _PART.fullmatch(file.name))
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise InputError(f"{path} has several parts ({names}); give one of them as --truth")
    return found[0] if found else path


def detect_format(path: Path) -> str:
    """The format's name.

    Raises:
        InputError: it looks like none of them; says what was looked for.
        OSError: it cannot be read.
    """
    found = _of_folder(path) if path.is_dir() else _of_file(path)
    if found is None:
        raise InputError(
            f"{path} looks like none of the known formats: a COCO JSON file (images, annotations), "
            "ODVG JSON Lines (grounding or detection), a RefCOCO folder (instances.json, refs*.p "
            "or refs*.json), a Flickr30k Entities folder (Sentences, Annotations), or records "
            "(annotations.jsonl with expressions). --truth-format says which one it is"
        )
    return found


def _of_folder(folder: Path) -> str | None:
    names = {entry.name for entry in folder.iterdir()}
    if {"Sentences", "Annotations"} <= names:
        return "flickr30k"
    if "instances.json" in names and any(name.startswith("refs") for name in names):
        return "refcoco"
    return "records" if any(step.folder_name in names for step in all_steps()) else None


def _of_file(path: Path) -> str | None:
    if path.suffix in (".p", ".pkl", ".pickle"):
        return "refcoco"
    first = _first_value(path)
    if isinstance(first, list):
        ref = first[0] if first and isinstance(first[0], dict) else {}
        return "refcoco" if {"ann_id", "sentences"} <= ref.keys() else None
    if not isinstance(first, dict):
        return None
    if "refs" in first:
        return "refcoco"
    if {"images", "annotations"} <= first.keys():
        return "coco"
    if _ODVG_KEYS & first.keys():
        return "odvg"
    return "records" if "expressions" in first else None


def _first_value(path: Path) -> Any:
    """The first line where it is JSON by itself, else the whole file; None where it is neither."""
    with open_lines(path) as lines:
        line: bytes = next((line for line in lines if line.strip()), b"")
    try:
        return strict_json(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        pass
    try:
        return load_json(path)
    except (ValueError, RecursionError):
        return None
