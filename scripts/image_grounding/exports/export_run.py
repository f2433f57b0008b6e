# SPDX-License-Identifier: Apache-2.0
"""A run into a folder of one format: all of it or nothing."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from image_grounding import __version__
from image_grounding.errors import InputError, OutputError, SampleError
from image_grounding.exports.base import FORMATS, Example, Exporter, Setting, stable_hash
from image_grounding.exports.card import CARD, write_card
from image_grounding.exports.images import Images, Paths
from image_grounding.exports.select import Selection, apply_refusals
from image_grounding.exports.split import Split
from image_grounding.results import Record, Results


@dataclass(frozen=True)
class Plan:
    """What to export, and how.

    Attributes:
        format: a name of ``FORMATS``.
        selection: which boxes and expressions.
        split: into which parts.
        paths: what image paths are.
        setting: what the format is told.
        overwrite: whether an export that is there may be replaced.
    """

    format: str
    selection: Selection = field(default_factory=Selection)
    split: Split = field(default_factory=Split)
    paths: Paths = Paths.RECORDS
    setting: Setting = field(default_factory=Setting)
    overwrite: bool = False


@dataclass
class _Tally:
    """Counts a part, and the hashes of the images in it: 64 bits an image."""

    counts: Counter[str] = field(default_factory=Counter)
    images: set[int] = field(default_factory=set)

    def add(self, record: Record, key: str) -> None:
        self.counts["records"] += 1
        self.counts["expressions"] += len(record.expressions)
        self.counts["boxes"] += sum(len(one.instances) for one in record.expressions)
        self.images.add(stable_hash(key))

    def plain(self) -> dict[str, int]:
        counts = {name: self.counts[name] for name in ("records", "expressions", "boxes")}
        return {"records": counts.pop("records"), "images": len(self.images), **counts}


def export_run(results: Results, plan: Plan, output: Path) -> dict[str, Any]:
    """Write ``results`` to the folder ``output`` as ``plan`` says.

    Returns:
        Counts: ``records``, ``images``, ``expressions``, ``boxes``; ``left_out`` by reason;
        ``parts`` with the same counts and the files of each.

    Raises:
        InputError: the results cannot be read, or nothing of them is left to export.
        OutputError: ``output`` holds something else, or cannot be written.
        SpecError: the format needs a package that is not there.
    """
    left_out: Counter[str] = Counter()
    tallies = {part: _Tally() for part in plan.split.parts}
    with _new_folder(output, results.file, overwrite=plan.overwrite) as folder:
        with ExitStack() as stack:
            exporter = FORMATS[plan.format](folder, plan.setting, stack)
            images = Images(results, folder, plan.paths)
            for example in _examples(results, plan, exporter, images, left_out):
                exporter.add(example)
                tallies[example.part].add(example.record, example.image_key)
            exporter.finish()
        report = _report(tallies, left_out, folder)
        if not report["records"]:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in left_out.items())
            raise InputError(f"nothing of {results.file} is left to export ({reasons or 'empty'})")
        write_card(folder, _card_facts(results, plan, exporter, report))
    return report


def _examples(
    results: Results, plan: Plan, exporter: Exporter, images: Images, left_out: Counter[str]
) -> Iterator[Example]:
    given = plan.setting.image_prefix
    prefix = exporter.default_prefix if given is None else given
    for record in results.records():
        chosen = plan.selection.apply(record, left_out)
        chosen = apply_refusals(chosen, exporter.refusals, left_out)
        if not chosen.expressions:
            left_out["records_without_expressions"] += 1
            continue
        try:
            image = prefix + images.name(chosen)
        except SampleError as error:
            left_out[f"records_{error.reason}"] += 1
            continue
        key = results.image_key(record)
        yield Example(chosen, plan.split.part_of(key), image, key)


def _report(tallies: dict[str, _Tally], left_out: Counter[str], folder: Path) -> dict[str, Any]:
    parts = {part or "all": tally.plain() for part, tally in tallies.items()}
    return {
        **{name: sum(part[name] for part in parts.values()) for name in next(iter(parts.values()))},
        "left_out": dict(left_out),
        "parts": parts,
        "files": [CARD, *sorted(path.name for path in folder.iterdir())],
    }


def _card_facts(
    results: Results, plan: Plan, exporter: Exporter, report: dict[str, Any]
) -> dict[str, Any]:
    teacher = results.summary.get("teacher")
    teacher = teacher if isinstance(teacher, dict) else {}
    counts = results.summary.get("counts")
    return {
        "format": exporter.name,
        "summary": Markup(exporter.summary),
        "reader": Markup(exporter.reader),
        "counts": report,
        "parts": report["parts"],
        "left_out": report["left_out"],
        "model": teacher.get("model"),
        "convention": teacher.get("convention"),
        "convention_iou": teacher.get("convention_iou"),
        "annotated": _day(datetime.fromtimestamp(results.file.stat().st_mtime, UTC)),
        "exported": _day(datetime.now(UTC)),
        "version": __version__,
        "failed": counts.get("failed") if isinstance(counts, dict) else None,
        "min_score": plan.selection.min_score,
        "drop_ungrounded": plan.selection.drop_ungrounded,
        "shares": "/".join(map(str, plan.split.shares)),
        "seed": plan.split.seed,
    }


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


@contextmanager
def _new_folder(output: Path, source: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder beside ``output`` that takes its name when the block ends well."""
    output = output.resolve()
    _check_free(output, source.resolve(), overwrite=overwrite)
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    old = output.with_name(f".{output.name}.{os.getpid()}.old")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if output.exists():
            output.rename(old)
        temporary.rename(output)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_free(output: Path, source: Path, *, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; -o must name a folder")
    if source.is_relative_to(output):
        raise OutputError(f"{output} holds the results themselves; choose another folder")
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not overwrite:
        raise OutputError(f"{output} is not empty; choose another folder or add --overwrite")
    if not (output / CARD).is_file():
        raise OutputError(f"{output} is no export (no {CARD}): --overwrite would delete it")
