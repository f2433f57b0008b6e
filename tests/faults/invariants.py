# SPDX-License-Identifier: Apache-2.0
"""What holds after every run, whatever was injected."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from faults.stage import BYSTANDER, GOOD, KEY, Stage, good_picture, held_by
from support.scripts import Ran

DOCUMENTED = {0, 2, 3, 4, 130}
COMPLETE = {0, 3}
STEPS = ("step_0_expression_extraction", "step_1_grounding")
_KNOWN = re.compile(
    r"annotations\.jsonl|run_summary\.json|run_state\.json|box_convention\.json|\.lock|"
    r"\.outputs\.json|\.finished\.json|"
    rf"(?:{'|'.join(STEPS)})(?:/(?:annotations\.jsonl|failures\.jsonl|\.ckpt(?:/[^.][^/]*)?))?"
)
_HALF = re.compile("[\ud800-\udfff]")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")

Record = dict[str, Any]


def check(stage: Stage, ran: Ran, lines: Sequence[bytes], *, reports: bool = True) -> None:
    """All of them, of a run over the ``lines`` of an input.

    Args:
        stage: after the run.
        ran: how it ended.
        lines: what the run read.
        reports: whether there is a JSON object on stdout.
    """
    records, failures = read(stage.results), failures_of(stage.results)
    assert ran.code in DOCUMENTED or ran.code < 0, f"exit {ran.code}: {ran.err}"
    assert "Traceback" not in ran.err, ran.err
    if reports:
        assert ran.json["exit_code"] == ran.code
    complete = ran.code in COMPLETE and reports and "counts" in ran.json
    complete = complete and not ran.json["stopped_by"]
    every_line_once(lines, records, failures, complete=complete)
    ids_are_unique(records)
    for record in records:
        is_whole(record)
        every_box_was_replied(stage, record)
    are_as_ever(stage, records, (BYSTANDER,))
    no_key(stage, ran)
    for server in stage.strangers:
        assert not server.calls + server.probes and not server.gets
    assert stage.look_around() == stage.outside, "something was written outside results_dir"
    if ran.code >= 0:
        nothing_is_left_over(stage.results)


def every_line_once(
    lines: Sequence[bytes], records: Sequence[Record], failures: Sequence[Record], *, complete: bool
) -> None:
    """Each line is annotated, or failed, or left because the run ended before it; never two."""
    annotated = set()
    rest = iter(list(enumerate(lines, 1)))
    for record in records:  # in the order of the input
        pair = (record["image_path"], record["caption"])
        number = next((number for number, line in rest if _pair(line) == pair), None)
        assert number, f"no line holds {pair}, or they are out of order"
        annotated.add(number)
    failed = Counter(entry["line"] for entry in failures)
    assert max(failed.values(), default=1) == 1, f"failed twice: {failed}"
    assert not annotated & failed.keys(), "annotated and failed at once"
    if complete:
        expected = {number for number, line in enumerate(lines, 1) if line.strip()}
        assert annotated | failed.keys() == expected


def ids_are_unique(records: Sequence[Record]) -> None:
    """Of samples, expressions and boxes; a line that is repeated repeats the sample's."""
    pairs = {record["sample_id"]: (record["image_path"], record["caption"]) for record in records}
    assert len(set(pairs.values())) == len(pairs) == len({*map(_pair_of, records)})
    expressions = [one for record in records for one in record["expressions"]]
    for kind in (
        [one["expression_id"] for one in expressions],
        [box["bbox_id"] for one in expressions for box in one["instances"]],
    ):
        assert len(set(kind)) == len(kind), "an id stands twice"


def is_whole(record: Record) -> None:
    """Spans hold their texts, boxes lie in the picture, scores are none or from 0 to 1."""
    width, height, caption = record["width"], record["height"], record["cleaned_caption"]
    for expression in record["expressions"]:
        if span := expression["char_span"]:
            assert caption[span[0] : span[1]] == expression["text"]
        assert expression["status"] == ("grounded" if expression["instances"] else "absent")
        for instance in expression["instances"]:
            x1, y1, x2, y2 = instance["bbox"]
            assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
            assert instance["score"] is None or 0 <= instance["score"] <= 1


def every_box_was_replied(stage: Stage, record: Record) -> None:
    """Each box stands in a reply to a question with this very picture."""
    asked = good_picture(record["image_path"]) if record["image_path"] in GOOD else None
    seen = {call.image for call, _ in stage.server.replies}
    asked = asked if asked in seen else None  # it was replaced, or travelled otherwise
    texts = [text for call, text in stage.server.replies if asked in (None, call.image)]
    size = (record["width"], record["height"])
    replied = {box for text in texts for box in _boxes_in(text, size)}
    for expression in record["expressions"]:
        for instance in expression["instances"]:
            box = tuple(instance["bbox"])
            assert box in replied or any(_is_near(box, other) for other in replied), (
                f"no reply held {box}"
            )


def are_as_ever(stage: Stage, records: Sequence[Record], images: Sequence[str]) -> None:
    """What stands there of good lines is what a run without any fault writes."""
    clean = {_pair_of(record): record for record in read(stage.clean_results())}
    for record in records:
        if record["image_path"] in images and (expected := clean.get(_pair_of(record))):
            assert record == expected


def no_key(stage: Stage, ran: Ran) -> None:
    """It is in no stream, no file and no command line."""
    assert KEY not in ran.out + ran.err
    assert not stage.key_seen
    for path in stage.folder.rglob("*"):
        assert KEY not in str(path)
        assert KEY.encode() not in held_by(path), path


def nothing_is_left_over(results: Path) -> None:
    """Only what the documents name is in results_dir."""
    if results.is_dir():
        names = {path.relative_to(results).as_posix() for path in results.rglob("*")}
        assert not {name for name in names if not _KNOWN.fullmatch(name)}


def read(results: Path, step: str = "") -> list[Record]:
    """The records of results, none where there are none."""
    return list(_objects(results / step / "annotations.jsonl"))


def failures_of(results: Path) -> list[Record]:
    """What failed, in any step."""
    return [entry for step in STEPS for entry in _objects(results / step / "failures.jsonl")]


def _objects(path: Path) -> Iterator[Record]:
    if path.is_file():
        yield from (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


def _is_near(box: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether they differ by no more than rounding does."""
    return all(abs(a - b) <= 1 for a, b in zip(box, other, strict=True))


def _pair_of(record: Record) -> tuple[str, str]:
    return record["image_path"], record["caption"]


def _pair(line: bytes) -> tuple[str, str] | None:
    """Image and caption of a line as a record gives them; None where it is no sample."""
    try:
        fields = json.loads(line.decode("utf-8-sig"))
        return _HALF.sub("\ufffd", fields["image_path"]), _HALF.sub("\ufffd", fields["caption"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _boxes_in(text: str, size: tuple[int, int]) -> Iterator[tuple[int, ...]]:
    """What any four numbers of a reply, one behind the other, are in pixels, from thousandths."""
    numbers = [min(max(float(found), -1e6), 1e6) for found in _NUMBER.findall(text)]
    for four in zip(*(numbers[start:] for start in range(4)), strict=False):
        x = sorted(min(max(number * size[0] / 1000, 0), size[0]) for number in four[::2])
        y = sorted(min(max(number * size[1] / 1000, 0), size[1]) for number in four[1::2])
        yield math.floor(x[0]), math.floor(y[0]), math.ceil(x[1]), math.ceil(y[1])
