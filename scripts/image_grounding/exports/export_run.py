# SPDX-License-Identifier: Apache-2.0
"""A run into a folder of one format: all of it or nothing."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from image_grounding import __version__
from image_grounding.errors import InputError, OutputError, SampleError
from image_grounding.exports.base import FORMATS, Example, Exporter, Setting
from image_grounding.exports.card import CARD, write_card, write_readme
from image_grounding.exports.caveats import export_caveats
from image_grounding.exports.counts import (
    PartCounts,
    ReadCounts,
    box_count,
    count_report,
    count_row,
)
from image_grounding.exports.filter import BoxFilter, exclude
from image_grounding.exports.images import Images, Paths
from image_grounding.exports.split import Split
from image_grounding.results.reading import Record, Results


@dataclass(frozen=True)
class Plan:
    """What to export, and how.

    Attributes:
        format: a name of ``FORMATS``.
        box_filter: which boxes and expressions.
        split: into which parts.
        paths: what image paths are; None for what is usual in the format.
        copy_images: whether the images are copied, upright.
        setting: of the format.
        overwrite: whether an export that is there may be replaced.
    """

    format: str
    box_filter: BoxFilter = field(default_factory=BoxFilter)
    split: Split = field(default_factory=Split)
    paths: Paths | None = None
    copy_images: bool = False
    setting: Setting = field(default_factory=Setting)
    overwrite: bool = False


def export_run(results: Results, plan: Plan, output: Path) -> dict[str, Any]:
    """Write ``results`` to the folder ``output`` by ``plan``.

    Returns:
        Counts: ``records``, ``images``, ``expressions``, ``boxes``; what was ``read``;
        ``left_out`` by reason, each beginning with what it counts; ``parts`` with the same
        counts; ``files``; ``warnings``.

    Raises:
        InputError: the results cannot be read, or nothing of them is left to export.
        OutputError: ``output`` holds something else, or cannot be written.
        SpecError: the format needs a package that is not there.
    """
    with _new_folder(output, results.file, overwrite=plan.overwrite) as folder:
        exporter, counts, by_part = _write(results, plan, folder, output.resolve())
        report = count_report(by_part, counts)
        if not report["records"]:
            reasons = ", ".join(f"{reason}: {n}" for reason, n in report["left_out"].items())
            raise InputError(f"nothing of {results.file} is left to export ({reasons or 'empty'})")
        own = export_caveats(results, plan.box_filter.min_score, counts, by_part)
        report["warnings"] = [*results.caveats(), *own, *exporter.warnings()]
        write_card(folder, _card_facts(results, plan, exporter, report))
        empty = [part for part, found in by_part.items() if not found.images]
        tables = {part: name for part, name in exporter.tables().items() if part not in empty}
        write_readme(folder, tables, exporter.table_field)
        report["files"] = [CARD, *sorted({path.name for path in folder.iterdir()} - {CARD})]
    return report


def _write(
    results: Results, plan: Plan, folder: Path, home: Path
) -> tuple[Exporter, ReadCounts, dict[str, PartCounts]]:
    """Write the files of the format and the copies of images to ``folder``."""
    counts = ReadCounts()
    by_part = {part: PartCounts() for part in plan.split.parts}
    with ExitStack() as stack:
        exporter = FORMATS[plan.format](folder, plan.setting, stack)
        usual = Paths.ABSOLUTE if exporter.absolute_paths else Paths.RECORDS
        images = Images(results, folder, home, plan.paths or usual, copy=plan.copy_images)
        source = _Source(results, plan, exporter, images)
        parts = plan.split.assign(source.images())
        for record, key, image in source.selected(counts):
            example = Example(record, parts.of(key), exporter.image(image), key)
            exporter.add(example)
            if by_part[example.part].add(record, key):
                counts.turned_images += images.is_turned(record)
        exporter.finish()
    return exporter, counts, by_part


@dataclass(frozen=True)
class _Source:
    """The records of a run as a format holds them."""

    results: Results
    plan: Plan
    exporter: Exporter
    names: Images

    def images(self) -> Iterator[tuple[str, Path | str]]:
        """Key and file of the image of every record that is exported."""
        for record, key, _ in self.selected(ReadCounts()):
            yield key, self.results.image_of(record)

    def selected(self, counts: ReadCounts) -> Iterator[tuple[Record, str, str]]:
        """Each record that is exported, with its image's key and path.

        Counts what is read, and why the rest is left out: for records, expressions and boxes
        what is read is what is exported and what is left out.
        """
        exporter, left_out = self.exporter, counts.left_out
        for record in self.results.records():
            counts.add(record)
            kept = self.plan.box_filter.apply(record, left_out, single_box=exporter.single_box)
            kept = exclude(kept, exporter.exclusions, left_out)
            if not kept.expressions:
                left_out["records_without_expressions"] += 1
                continue
            try:
                image = self.names.name(kept)
            except SampleError as error:
                left_out[f"records_{error.reason}"] += 1
                left_out["expressions_of_left_out_records"] += len(kept.expressions)
                left_out["boxes_of_left_out_records"] += box_count(kept)
                continue
            yield kept, self.results.image_key(record), image


def _card_facts(
    results: Results, plan: Plan, exporter: Exporter, report: dict[str, Any]
) -> dict[str, Any]:
    teacher = results.teacher
    counts = results.summary.get("counts")
    return {
        "format": exporter.name,
        "summary": Markup(exporter.summary),
        "reader": Markup(exporter.reader),
        "counts": report,
        "rows": {
            Markup(kind): count_row(kind, report) for kind in ("records", "expressions", "boxes")
        },
        "parts": report["parts"] if len(report["parts"]) > 1 else {},
        "reasons": {Markup(name.replace("_", " ")): n for name, n in report["left_out"].items()},
        "caveats": [Markup(f"{text[0].upper()}{text[1:]}.") for text in report["warnings"]],
        "model": teacher.get("model"),
        "convention": teacher.get("convention"),
        "convention_iou": teacher.get("convention_iou"),
        "annotated": _day(datetime.fromtimestamp(results.file.stat().st_mtime, UTC)),
        "exported": _day(datetime.now(UTC)),
        "version": __version__,
        "failed": counts.get("failed") if isinstance(counts, dict) else None,
        "min_score": plan.box_filter.min_score,
        "drop_ungrounded": plan.box_filter.drop_ungrounded,
        "format_options": {
            Markup(name.replace("_", "-")): Markup(getattr(plan.setting, name))
            for name in exporter.options
        },
        "shares": "/".join(map(str, plan.split.shares)) if len(plan.split.parts) > 1 else "none",
        "seed": plan.split.seed,
    }


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


@contextmanager
def _new_folder(output: Path, source: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder beside ``output`` that takes its name when the block ends well."""
    output = output.resolve()
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    old = output.with_name(f".{output.name}.{os.getpid()}.old")
    try:
        _check_free(output, source.resolve(), overwrite=overwrite)
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
