# SPDX-License-Identifier: Apache-2.0
"""Faults of what an earlier run left, or what somebody did to it."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from faults.checkpoints import Damage, damage, exchange, forget
from faults.fault import Fault, Inject, goes_on, refuses
from faults.injections import both, given
from faults.stage import Stage, remove
from image_grounding.files import exclusive

row = partial(Fault, "state")
STEP_0, STEP_1 = "step_0_expression_extraction", "step_1_grounding"
DEEP = b"[" * 100_000 + b"]" * 100_000
ASKED_AGAIN = goes_on("what was damaged is asked for again, and nothing else", most=3)
ONCE_AGAIN = goes_on("nothing is asked again, the outputs are written anew", most=0)


def edited(change: Callable[[Any], object]) -> Damage:
    """Another value in the place of a kept one."""

    def how(data: bytes) -> bytes:
        kept = json.loads(data)
        change(kept)
        return json.dumps(kept).encode()

    return how


def box(numbers: Any) -> Damage:
    return edited(lambda kept: kept["result"]["instances"][0][0].update(bbox=numbers))


def score(value: Any) -> Damage:
    return edited(lambda kept: kept["result"]["instances"][0][0].update(score=value))


def expression(**values: Any) -> Damage:
    return edited(lambda kept: kept["result"]["expressions"][0].update(values))


def file(name: str, data: bytes | None) -> Inject:
    """Finished results, of which a file holds something else; None makes it a folder."""

    def inject(stage: Stage) -> None:
        stage.finish()
        path = stage.results / name
        remove(path)
        path.mkdir() if data is None else path.write_bytes(data)

    return inject


def finished(act: Inject) -> Inject:
    return both(lambda stage: stage.finish(), act)


def removed(name: str) -> Inject:
    return finished(lambda stage: remove(stage.results / name))


def locked(stage: Stage) -> None:
    """Another run is at work, and somebody removed its lock file."""
    stage.keep("run", exclusive(stage.results))
    (stage.results / ".lock").unlink()


def moved(stage: Stage) -> None:
    stage.results.rename(stage.folder / "elsewhere")
    stage.results.symlink_to(stage.folder / "elsewhere")


def failed_then(stage: Stage) -> None:
    """As a run leaves it that was killed after it had asked again."""
    record = json.loads((stage.results / "annotations.jsonl").read_text().splitlines()[0])
    entry = {"sample_id": record["sample_id"], "line": 1, "reason": "timeout", "message": "late"}
    (stage.results / STEP_1 / "failures.jsonl").write_text(json.dumps(entry) + "\n")


def edit_json(path: Path, **change: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


NAN = float("nan")
DAMAGED: dict[str, tuple[str, Damage]] = {
    "is gone": ("1", lambda data: None),
    "is empty": ("1", lambda data: b""),
    "is cut in the middle": ("1", lambda data: data[: len(data) // 2]),
    "holds zero bytes": ("1", lambda data: bytes(len(data))),
    "is no JSON": ("1", lambda data: b"checkpoint"),
    "is nested 100,000 deep": ("1", lambda data: DEEP),
    "is of an unknown form": ("1", edited(lambda kept: kept.update(format=99))),
    "is of another basis": ("1", edited(lambda kept: kept.update(basis="0" * 20))),
    "has a box of five numbers": ("1", box([1, 2, 30, 40, 50])),
    "has a box of NaN": ("1", box([1, 2, NAN, 40])),
    "has a box outside of the picture": ("1", box([1, 2, 30, 4000])),
    "has a box without area": ("1", box([30, 2, 30, 40])),
    "has a score of 7": ("1", score(7)),
    "lacks the boxes of one thing": ("1", edited(lambda kept: kept["result"]["instances"].pop())),
    "has a picture of 0 pixels": ("1", edited(lambda kept: kept.update(width=0))),
    "has a span outside of the caption": ("0", expression(char_span=[0, 9000])),
    "has a span of another text": ("0", expression(char_span=[0, 1])),
    "has an expression without a text": ("0", expression(text="")),
    "has a number as an expression": ("0", expression(text=7)),
}  # fmt: skip

# fmt: off
FAULTS = (
    *(row(f"what was kept of step {step} {what}", damage(step, how), ASKED_AGAIN) for what,
        (step, how) in DAMAGED.items()),
    row("what was kept of one sample stands under another's name", exchange,
        ASKED_AGAIN),
    row("all that was kept is gone", forget, goes_on("all is asked for again", most=5)),
    row("the records are gone", removed("annotations.jsonl"), ONCE_AGAIN),
    row("the records are cut", file("annotations.jsonl", b'{"image_path": "bys'), ONCE_AGAIN),
    row("the records are somebody else's", file("annotations.jsonl", b'{"a": 1}\n'), ONCE_AGAIN),
    row("run_summary.json is cut", file("run_summary.json", b'{"usage_of_all'), ONCE_AGAIN),
    row("run_summary.json is nested 100,000 deep", file("run_summary.json", DEEP), ONCE_AGAIN),
    row("run_summary.json holds other things", file("run_summary.json",
        b'{"usage_of_all_runs": {"requests": "x", "cost": [1]}, "counts": 7}'), ONCE_AGAIN),
    row(".finished.json is cut", file(".finished.json", b'{"made_from": ["0.1'), ONCE_AGAIN),
    row(".finished.json is nested 100,000 deep", file(".finished.json", DEEP), ONCE_AGAIN),
    row(".finished.json is a folder", file(".finished.json", None), ONCE_AGAIN),
    row("run_state.json holds a usage of other things", finished(lambda stage: edit_json(
        stage.results / "run_state.json", in_summary=False, usage={"requests": "x", "cost": [1]},
        not_in_summary=[{"requests": 10**40}, {}])), ONCE_AGAIN),
    row("run_state.json is no JSON", file("run_state.json", b"\xff\xfe"), ONCE_AGAIN),
    row("failures.jsonl is cut", file(f"{STEP_1}/failures.jsonl", b'{"sample_id": "x", "li'),
        ONCE_AGAIN),
    row("failures.jsonl holds other things", file(f"{STEP_1}/failures.jsonl",
        b'7\n{}\n{"line": "x", "sample_id": [1]}\n\xff\n' + DEEP), ONCE_AGAIN),
    row("failures.jsonl holds a sample that is finished", finished(failed_then), ONCE_AGAIN),
    row("what a killed run left of its outputs", finished(lambda stage: (stage.results /
        ".annotations.jsonl.tmp").write_text('{"image_path": "bys')), ONCE_AGAIN),
    row("results_dir was moved and is a link", finished(moved), ONCE_AGAIN),
    row("annotations.jsonl is a folder", file("annotations.jsonl", None),
        refuses("cannot write"), mend=lambda stage: remove(stage.results / "annotations.jsonl")),
    row("failures.jsonl is a folder", file(f"{STEP_0}/failures.jsonl", None),
        refuses("cannot write"), mend=lambda stage: remove(stage.results / STEP_0 /
        "failures.jsonl")),
    row("the folder of a step is a file", both(lambda stage: stage.results.mkdir(), lambda stage:
        (stage.results / STEP_1).touch()), refuses("cannot write"), mend=lambda stage:
        remove(stage.results / STEP_1)),
    row("results_dir is a file", lambda stage: stage.results.write_bytes(b""),
        refuses("cannot write"), mend=lambda stage: remove(stage.results)),
    row("results_dir is below a file", given("results_dir={folder}/input.jsonl/x"),
        refuses("Not a directory")),
    row("results_dir is where nobody can write", given("results_dir=/proc/nowhere"),
        refuses("cannot write to /proc/nowhere")),
    row("results_dir is a link to nothing", lambda stage: stage.results.symlink_to("/proc/gone"),
        refuses("cannot write"), mend=lambda stage: remove(stage.results)),
    row("another run is at work, and its lock file was removed", finished(locked),
        refuses("another run is writing"), mend=lambda stage: stage.drop("run")),
)
