# SPDX-License-Identifier: Apache-2.0
"""``review.json``: the marks of a reviewer and what they mean for phrases and boxes.

A mark belongs to an expression or to one of its boxes. ``good``: the phrase and its boxes are
right. ``wrong_box``: the phrase is right, the box is not. ``wrong_phrase``: it should not have
been extracted; its boxes do not count. ``missing``: phrase and boxes are right, but an instance
has no box. The mark of a box overrides the mark of its expression.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
    """The content of a review.

    Attributes:
        by_expression: the marks of each expression and of its boxes.
        digests: digests of the phrases and boxes at the time of marking, where given.
        run: fingerprint of the reviewed results, or None.
        picks: why each sample was shown, by sample_id, random samples in the order of the draw;
            empty where not given.
    """

    by_expression: dict[Key, OwnMarks]
    digests: dict[Key, str]
    run: str | None
    picks: dict[str, str]


@dataclass(frozen=True)
class Judgement:
    """The meaning of the marks of one expression.

    Attributes:
        number: index of the expression in the record.
        phrase: whether the phrase is good.
        missing: whether an instance of it has no box.
        boxes: index, instance and whether it is good, for each marked box.
    """

    number: int
    phrase: bool
    missing: bool
    boxes: tuple[tuple[int, Instance, bool], ...]


def digest_of(record: Record, number: int) -> str:
    """A digest of the sample, text and boxes of an expression, to which its marks belong.

    Another run over the same sample has the same digest only where its answer is the same.
    """
    expression = record.expressions[number]
    boxes = [instance.bbox for instance in expression.instances]
    content = [record.sample_id, expression.expression_id, expression.text, boxes]
    return hashlib.sha256(to_json(content).encode()).hexdigest()[:12]


def read_marks(path: Path) -> Marks:
    """Read a review.

    Raises:
        InputError: the file cannot be read, is no review, or holds no mark.
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
    """The judgements of a record's expressions.

    Expressions without a mark, or with marks that belong to other boxes, have none.
    """
    for number, expression in enumerate(record.expressions):
        key = record.sample_id, expression.expression_id
        own = marks.by_expression.get(key)
        if not own or marks.digests.get(key) not in (None, digest_of(record, number)):
            continue
        if "wrong_phrase" in own.values():
            yield Judgement(number, phrase=False, missing=False, boxes=())
            continue
        effective = [own.get(bbox_id, own.get(None)) for bbox_id in bbox_ids(record, number)]
        boxes = tuple(
            (index, instance, mark != "wrong_box")
            for index, (instance, mark) in enumerate(
                zip(expression.instances, effective, strict=True)
            )
            if mark
        )
        yield Judgement(number, True, "missing" in own.values(), boxes)


def bbox_ids(record: Record, number: int) -> list[str]:
    """The ids of an expression's boxes; where the file has none, ids as a run makes them."""
    own_id = record.expressions[number].expression_id
    return [
        str(instance.get("bbox_id") or f"{own_id}-b{index}")
        for index, instance in enumerate(
            record.fields["expressions"][number].get("instances") or ()
        )
    ]
