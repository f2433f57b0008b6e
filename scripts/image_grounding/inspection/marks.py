# SPDX-License-Identifier: Apache-2.0
"""``review.json``: a reviewer's marks, and what they say of an expression and its boxes.

A mark is on an expression or on one of its boxes. ``good``: the phrase and its boxes are right.
``wrong_box``: the phrase is right, the box is not. ``wrong_phrase``: it should not have been
asked for, so that its boxes do not count. ``missing``: phrase and boxes are right, but an
instance has no box. A box's own mark goes before that of its expression.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from image_grounding.errors import InputError
from image_grounding.files import to_json
from image_grounding.resources import load_schema
from image_grounding.results.reading import Record
from image_grounding.steps.annotations import Instance

Key = tuple[str, str]  # sample_id, expression_id
OwnMarks = dict[str | None, str]  # bbox_id, or None for the whole expression -> mark


@dataclass(frozen=True)
class Marks:
    """A review read in.

    Attributes:
        by_expression: the marks.
        digests: digests of the phrases and boxes that they were made on, where it says.
        run: fingerprint of the results that it is of, or None.
        picks: why each sample was shown, by sample_id, random ones in the order they were drawn;
            empty where it does not say.
    """

    by_expression: dict[Key, OwnMarks]
    digests: dict[Key, str]
    run: str | None
    picks: dict[str, str]


@dataclass(frozen=True)
class Judgement:
    """What a review says of one expression.

    Attributes:
        number: its index in the record.
        phrase: whether the phrase is good.
        missing: whether an instance of it has no box.
        boxes: index, instance and whether it is good, of each box that was judged.
    """

    number: int
    phrase: bool
    missing: bool
    boxes: tuple[tuple[int, Instance, bool], ...]


def digest_of(record: Record, number: int) -> str:
    """What a mark on an expression is about: its sample, its text and its boxes, in short.

    Another run over the same sample keeps it only where the answer is the same.
    """
    expression = record.expressions[number]
    boxes = [instance.bbox for instance in expression.instances]
    content = [record.sample_id, expression.expression_id, expression.text, boxes]
    return hashlib.sha256(to_json(content).encode()).hexdigest()[:12]


def read_marks(path: Path) -> Marks:
    """Read a review.

    Raises:
        InputError: it cannot be read, is no review, or holds no mark.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read the review {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise InputError(f"the review {path} is not JSON") from None
    for violation in Draft202012Validator(load_schema("review")).iter_errors(content):
        where = ".".join(map(str, violation.absolute_path)) or "the whole of it"
        raise InputError(f"{path} is no review: {where}: {violation.message[:200]}")
    marks: defaultdict[Key, OwnMarks] = defaultdict(dict)
    digests: dict[Key, str] = {}
    for item in content["marks"]:
        key = item["sample_id"], item["expression_id"]
        marks[key][item.get("bbox_id")] = item["mark"]
        if digest := item.get("digest"):
            digests[key] = digest
    if not marks:
        raise InputError(f"the review {path} holds no mark; mark some cards and download it again")
    picks = {card["sample_id"]: card["picked"] for card in content.get("cards", ())}
    return Marks(dict(marks), digests, content.get("run", {}).get("fingerprint"), picks)


def judgements_of(record: Record, marks: Marks) -> Iterator[Judgement]:
    """What the marks say of a record's expressions.

    Nothing of those without a mark, or whose marks were made on other boxes.
    """
    for number, expression in enumerate(record.expressions):
        key = record.sample_id, expression.expression_id
        own = marks.by_expression.get(key)
        if not own or marks.digests.get(key) not in (None, digest_of(record, number)):
            continue
        if "wrong_phrase" in own.values():
            yield Judgement(number, phrase=False, missing=False, boxes=())
            continue
        ids = _bbox_ids(record.fields["expressions"][number], expression.expression_id)
        effective = [own.get(bbox_id, own.get(None)) for bbox_id in ids]
        boxes = tuple(
            (index, instance, mark != "wrong_box")
            for index, (instance, mark) in enumerate(
                zip(expression.instances, effective, strict=True)
            )
            if mark
        )
        yield Judgement(number, True, "missing" in own.values(), boxes)


def _bbox_ids(fields: dict[str, Any], expression_id: str) -> list[str]:
    """The ids of an expression's boxes, made as those of a run where the file has none."""
    return [
        str(instance.get("bbox_id") or f"{expression_id}-b{index}")
        for index, instance in enumerate(fields.get("instances") or ())
    ]
