# SPDX-License-Identifier: Apache-2.0
"""The input: JSON Lines, plain, packed, or records of an earlier run; and what make_input reads.

The first byte chooses which.
"""

import gzip
import json
import re
from pathlib import Path
from typing import Any

from image_grounding.errors import InputError, SampleError
from image_grounding.input.caption_sources import read_captions
from image_grounding.input.samples import BadLine, Sample, SampleReader
from image_grounding.input.selection import Pilot, Selection
from image_grounding.results.records import make_record
from image_grounding.steps.extraction import EXTRACTION
from image_grounding.steps.grounding import GROUNDING
from image_grounding.steps.step import Earlier
from targets import Target
from targets.strict import check_message, check_writable

_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_LINES: list[Any] = [
    {"image_path": "a.png", "caption": "a dog and two cats"},
    {"image_path": "b/c.jpg", "caption": "a car", "image_id": 7, "width": 64, "height": 48},
    {"image_path": "a.png", "caption": "a dog and two cats", "more": [1.5, None, {"x": "\ud800"}]},
    {"image_path": "../x.png", "caption": "a car", "image_id": "x"},
    {"image_path": "C:\\x.png", "caption": "\u8d64\u3044\u8eca"},
]
_RECORD = {
    "image_path": "a.png", "caption": "a dog", "sample_id": "x", "cleaned_caption": "A dog",
    "expressions": [
        {"text": "A dog", "char_span": [0, 5], "noun_chunk": "dog", "expression_id": "e0",
         "instances": [{"bbox": [1, 2, 3, 4], "score": 0.5, "bbox_id": "b"}]},
        {"text": "dog", "instances": []},
    ],
    "pipeline_steps": ["step0_expression_extraction"],
}  # fmt: skip
_TABLE = 'image_path,caption,width,tag\na.png,"a dog, and ""two"" cats",64,x\nb.png,y,,\n'
_COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
    "annotations": [{"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "none"}],
}


def target(folder: Path) -> Target:
    """The target, with its files in ``folder``."""
    (folder / "a.png").write_bytes(b"only its name is looked at")
    lines = "".join(json.dumps(line) + "\n" for line in _LINES).encode()
    records = (json.dumps(_RECORD) + "\n").encode() * 2
    seeds = [b"0" + lines, b"1" + b"\xef\xbb\xbf" + lines.replace(b"\n", b"\r\n\r\n")]
    seeds += [b"2" + records, b"3" + records, b"4" + gzip.compress(lines, mtime=0)]
    seeds += [b"5" + _TABLE.encode(), b"5" + _TABLE.replace(",", "\t").encode()]
    seeds += [b"6" + json.dumps(_COCO).encode()]

    def check(data: bytes) -> None:
        mode, content = b"%d" % (data[0] % 8 if data else 0), data[1:]
        path = folder / {b"4": "in.jsonl.gz", b"5": "in.csv", b"6": "in.json"}.get(mode, "in.jsonl")
        path.write_bytes(content)
        if mode in (b"5", b"6"):
            return _check_captions(path)
        step = {b"2": EXTRACTION, b"3": GROUNDING}.get(mode)
        identity = step.identity if step else None
        _check_lines(SampleReader(path, "", identity=identity))
        _check_lines(SampleReader(path, str(folder), outside=False, identity=identity))

    words = ['{"image_path": "a.png", "caption": "x"}\n', '"image_id"', '"width"', '"caption"']
    words += ["\\ud800", "\\u0000", "\\udc00", "1e999", "NaN", "../", "s3://", "data:,", "\r", "\n"]
    words += ['"char_span"', '"instances"', '"bbox"', '"expressions"', "0" * 200, "[[[["]
    return Target(check, seeds, words, head=1)


def _check_captions(path: Path) -> None:
    try:
        found = read_captions(path, None, (None, None), by_line=False)
    except InputError as error:
        return check_message(error)
    for line in found.lines:
        assert line["caption"].strip()
        json.dumps(line, allow_nan=False)
    for left in found.left.values():
        json.dumps(left.as_json() if hasattr(left, "as_json") else str(left))
    return None


def _check_lines(reader: SampleReader) -> None:
    try:
        items = list(reader)
        count = reader.count()
    except InputError as error:
        return check_message(error)
    numbers = [item.line for item in items]
    # A first line of a byte order mark alone is blank to one of both.
    assert numbers == sorted(set(numbers)) and count - 1 <= len(numbers) <= count
    pairs = set()
    for item in items:
        if isinstance(item, BadLine):
            assert item.error.reason == "bad_line"
            check_message(item.error)
            check_writable([str(item.error), item.image_path])
            continue
        assert _ID.fullmatch(item.sample_id)
        assert (item.sample_id, item.occurrence) not in pairs
        pairs.add((item.sample_id, item.occurrence))
        _check_sample(item)
    for pilot in (Pilot(1), Pilot(1, 7)):
        try:
            chosen = list(Selection(reader, pilot))
        except InputError as error:
            check_message(error)
        else:
            assert len(chosen) == 1 and isinstance(chosen[0], Sample)
    return None


def _check_sample(sample: Sample) -> None:
    sample.caption.encode()
    assert isinstance(sample.image_id, str | int)
    EXTRACTION.basis(sample, Earlier())
    if not sample.given:
        return check_writable(dict(sample.fields))
    earlier = Earlier()
    for step in (EXTRACTION, GROUNDING):
        try:
            earlier = earlier.plus(step, step.recover(sample))
        except SampleError as error:
            return check_message(error)
        if step is EXTRACTION:
            assert step.is_sound(earlier[step], (1, 1), Earlier())
        check_writable(make_record(sample, (64, 48), step, earlier))
    return None
