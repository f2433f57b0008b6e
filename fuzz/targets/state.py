# SPDX-License-Identifier: Apache-2.0
"""Files of an earlier run, each read by everybody who reads it.

The first byte chooses the file, the second who reads it; the rest is what it holds.
"""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

from image_grounding.errors import ImageGroundingError
from image_grounding.exports import FORMATS, Plan, export_run
from image_grounding.files import clean_json
from image_grounding.inspection.inspect_run import inspect_run
from image_grounding.inspection.kept_replies import kept_replies
from image_grounding.inspection.marks import read_marks
from image_grounding.inspection.page import write_page
from image_grounding.inspection.report_file import read_picks, write_report
from image_grounding.inspection.review import review_run
from image_grounding.measuring.cache import MeasurementCache
from image_grounding.results.checkpoints import load_finished
from image_grounding.results.outputs import write_annotations
from image_grounding.results.reading import Record, Results
from image_grounding.results.records import make_record
from image_grounding.results.standing import made_from, standing_outputs
from image_grounding.results.unpacking import unpack
from image_grounding.run.status import status_of
from image_grounding.run.summary import _added_up
from image_grounding.spec import Limits, load_limits
from targets import Target
from targets.results_folder import MEASURED, STEPS, TRANSPORT, Folder, checkpoints_of, make_folder
from targets.strict import check_message, check_writable

_USAGE = {
    "requests": 1, "retries": 0, "input_tokens": 1, "output_tokens": 1, "cached_tokens": 0,
    "image_bytes": 1, "cost": 0.5,
}  # fmt: skip
_OUT = "of_the_tools"


def target(folder: Path) -> Target:
    """The target, with a results folder in ``folder``."""
    made = make_folder(folder)
    names = sorted(made.files, key=lambda name: (name.startswith("."), name))
    seeds = [
        bytes([number, reader]) + made.files[name]
        for number, name in enumerate(names)
        for reader in range(len(_readers(name)))
    ]

    def check(data: bytes) -> None:
        if len(data) < 2:
            return
        name = names[data[0] % len(names)]
        readers = _readers(name)
        (made.path / name).write_bytes(data[2:])
        try:
            _tolerant(readers[data[1] % len(readers)], made)
        finally:
            made.restore()
            shutil.rmtree(folder / _OUT, ignore_errors=True)

    words = ["[", "]", "{", "}", "null", "true", "NaN", "Infinity", "1e999", "-1", '""', "9" * 400]
    words += ['"bbox"', '"score"', '"char_span"', '"result"', '"replies"', "\\ud800", "\\u0000"]
    words += ['"usage_of_all_runs"', '"convention_iou"', '"updated"', '"format"', "\n", "\xff"]
    return Target(check, seeds, words, head=2)


def _readers(name: str) -> tuple[Callable[[Folder], None], ...]:
    """Who reads a file."""
    if ".ckpt" in name:
        return (_recall, _write_outputs, _keep_again, _unpack)
    if name.endswith("failures.jsonl"):
        return (_failures, _records, _inspect)
    exports = tuple(_exporting(name) for name in sorted(FORMATS))
    return {
        "annotations.jsonl": (_records, _inspect, _review, *exports),
        "box_convention.json": (_measurement,),
        ".outputs.json": (_standing,),
        "report.json": (_review,),
        "review.json": (_review,),
        "run_state.json": (_status,),
        "run_summary.json": (_summary, _inspect, exports[0]),
    }.get(name, (_records,))


def _tolerant(read: Callable[[Folder], None], made: Folder) -> None:
    try:
        read(made)
    except ImageGroundingError as error:
        check_message(error)
        check_writable(str(error))


def _recall(made: Folder) -> None:
    """What is recalled can be written; what is shown can be shown."""
    stores = [made.results.checkpoints(step) for step in STEPS]
    for sample in made.samples:
        done = load_finished(sample, stores)
        for step, kept in done.checkpoints.items():
            assert step.is_sound(kept.result, kept.size, done.earlier)
            record = make_record(sample, kept.size, step, done.earlier)
            check_writable(record)
            clean_json(dict(kept.provenance))
        for store in stores:
            store.load(sample, done.earlier, replies=True) if store.step in done.earlier else None
        for reply in kept_replies(made.path, [sample.sample_id])[0]:
            check_writable(reply.text)
    for store in stores:
        assert 0 <= store.count() <= 100 and store.unusable >= 0


def _write_outputs(made: Folder) -> None:
    """What a run writes of it, its own readers take."""
    logs = made.results.open_failures(STEPS)
    written = write_annotations(made.results, made.samples, STEPS, logs, whole=True)
    for log in logs.values():
        log.settle(whole=True)
    found = Results(made.path)
    try:
        records = list(found.records())
    except ImageGroundingError as error:
        raise AssertionError(f"written and not read: {error}") from error
    failed = {str(entry.get("sample_id")) for _, entry in found.failures()}
    done = {record.sample_id for record in records}
    assert len(done) == len(records) == written.records[STEPS[-1]]
    assert not failed & done, "annotated and failed"
    assert failed | done == {sample.sample_id for sample in made.samples}
    assert not found.wrong_spans
    for record in records:
        _check_record(record)


def _keep_again(made: Folder) -> None:
    """What is asked for again can be kept beside whatever is there, and is recalled."""
    for number, step in enumerate(STEPS):
        store = made.results.checkpoints(step)
        store.create()
        for sample in made.samples:
            store.save(sample, checkpoints_of(sample)[number])
    stores = [made.results.checkpoints(step) for step in STEPS]
    for sample in made.samples:
        found = load_finished(sample, stores).checkpoints
        assert [kept.result for kept in found.values()] == [
            kept.result for kept in checkpoints_of(sample)
        ], "what was kept is not recalled"


def _unpack(made: Folder) -> None:
    """Nothing is written outside of the folder that is named, whatever an id is."""
    out = made.path.parent / _OUT / "a" / "b"
    counts = unpack(made.path, out)
    inside = [path for path in (made.path.parent / _OUT).rglob("*.json")]
    assert len(inside) == sum(counts.values())
    assert {path.parent.parent for path in inside} == {out}


def _standing(made: Folder) -> None:
    """What a mark says of the outputs, a summary may repeat."""
    written = standing_outputs(made.results, made_from(made.results, "d", STEPS), STEPS)
    if written:
        assert all(0 <= count < 10**9 for count in written.records.values())
        check_writable([dict(written.dropped_boxes), written.clipped_boxes])


def _failures(made: Folder) -> None:
    for whole in (False, True):
        logs = made.results.open_failures(STEPS)
        for log in logs.values():
            log.add(line=1, reason="timeout", message="late", sample_id="mine")
            log.attempted("x-1", 7)
            log.settle(whole=whole)
        found = [fields.get("sample_id") for _, fields in Results(made.path).failures()]
        assert found.count("mine") == len(STEPS)


def _measurement(made: Folder) -> None:
    cache = MeasurementCache(made.results, made.vlm, TRANSPORT)
    found = cache.load()
    if found:
        assert found.chosen in found.ious and found.best[1] <= 1
        check_writable(dict(found.ious))
    cache.save(MEASURED)
    assert cache.load() == MEASURED


def _status(made: Folder) -> None:
    check_writable(status_of(made.path))


def _summary(made: Folder) -> None:
    state = made.results.read_state()
    unreported = state.unreported if state else ()
    check_writable(_added_up(made.results.read_summary(), [*unreported, _USAGE]))
    results = Results(made.path)
    load_limits(results.spec_section("inspection"))
    check_writable([*results.caveats(), str(results.unfinished()), results.teacher])
    for record in results.records():
        results.image_of(record)
        check_writable(results.image_key(record))
    _review(made)


def _records(made: Folder) -> None:
    results = Results(made.path)
    for record in results.records():
        _check_record(record)
    for _, fields in results.failures():
        check_writable(fields)


def _check_record(record: Record) -> None:
    check_writable(record.fields)
    for expression in record.expressions:
        if expression.char_span:
            start, end = expression.char_span
            assert 0 <= start < end <= len(record.cleaned_caption)


def _review(made: Folder) -> None:
    marks = read_marks(made.path / "review.json")
    picks, _ = read_picks(made.path / "report.json")
    review_run(Results(made.path), marks, marks.picks or picks)
    review_run(Results(made.path), marks, picks)


def _inspect(made: Folder) -> None:
    results = Results(made.path)
    inspection = inspect_run(results, _limits())
    out = made.path.parent / _OUT
    out.mkdir(exist_ok=True)
    write_report(inspection, out / "report.json")
    write_page(inspection, out / "index.html")


@cache
def _limits() -> Limits:
    return load_limits({})


def _exporting(name: str) -> Callable[[Folder], None]:
    def export(made: Folder) -> None:
        check_writable(export_run(Results(made.path), Plan(name), made.path.parent / _OUT))

    return export
