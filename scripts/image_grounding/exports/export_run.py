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
        paths: what image paths are.
        setting: of the format.
        overwrite: whether an export that is there may be replaced.
    """

    format: str
    box_filter: BoxFilter = field(default_factory=BoxFilter)
    split: Split = field(default_factory=Split)
    paths: Paths = Paths.RECORDS
    setting: Setting = field(default_factory=Setting)
    overwrite: bool = False


@dataclass
class _PartCounts:
    """Counts a part, and the hashes of the images in it: 64 bits an image."""

    counts: Counter[str] = field(default_factory=Counter)
    images: set[int] = field(default_factory=set)

    def add(self, record: Record, key: str) -> None:
        _add(self.counts, record)
        self.images.add(stable_hash(key))

    def plain(self) -> dict[str, int]:
        counts = {name: self.counts[name] for name in ("records", "expressions", "boxes")}
        return {"records": counts.pop("records"), "images": len(self.images), **counts}


def export_run(results: Results, plan: Plan, output: Path) -> dict[str, Any]:
    """Write ``results`` to the folder ``output`` by ``plan``.

    Returns:
        Counts: ``records``, ``images``, ``expressions``, ``boxes``; what was ``read``;
        ``left_out`` by reason, each beginning with what it counts; ``parts`` with the same
        counts; ``files``.

    Raises:
        InputError: the results cannot be read, or nothing of them is left to export.
        OutputError: ``output`` holds something else, or cannot be written.
        SpecError: the format needs a package that is not there.
    """
    left_out: Counter[str] = Counter()
    read: Counter[str] = Counter()
    by_part = {part: _PartCounts() for part in plan.split.parts}
    with _new_folder(output, results.file, overwrite=plan.overwrite) as folder:
        with ExitStack() as stack:
            exporter = FORMATS[plan.format](folder, plan.setting, stack)
            source = _Source(results, plan, exporter, Images(results, folder, plan.paths))
            parts = plan.split.assign(source.images())
            for record, key, image in source.chosen(left_out, read):
                example = Example(record, parts.of(key), exporter.image(image), key)
                exporter.add(example)
                by_part[example.part].add(record, key)
            exporter.finish()
        report = {
            **_report(by_part, read, +left_out, folder),
            "warnings": results.caveats(),
        }
        if not report["records"]:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in (+left_out).items())
            raise InputError(f"nothing of {results.file} is left to export ({reasons or 'empty'})")
        write_card(folder, _card_facts(results, plan, exporter, report))
    return report


@dataclass(frozen=True)
class _Source:
    """The records of a run as a format holds them."""

    results: Results
    plan: Plan
    exporter: Exporter
    names: Images

    def images(self) -> Iterator[tuple[str, Path]]:
        """Key and file of the image of every record that is exported."""
        for record, key, _ in self.chosen(Counter(), Counter()):
            yield key, self.results.image_of(record)

    def chosen(
        self, left_out: Counter[str], read: Counter[str]
    ) -> Iterator[tuple[Record, str, str]]:
        """Each record that is exported, with its image's key and path.

        Counts what is read, and why the rest is left out: for records, expressions and boxes
        what is read is what is exported and what is left out.
        """
        exporter = self.exporter
        for record in self.results.records():
            _add(read, record)
            chosen = self.plan.box_filter.apply(record, left_out, single_box=exporter.single_box)
            chosen = exclude(chosen, exporter.exclusions, left_out)
            if not chosen.expressions:
                left_out["records_without_expressions"] += 1
                continue
            try:
                image = self.names.name(chosen)
            except SampleError as error:
                left_out[f"records_{error.reason}"] += 1
                left_out["expressions_of_left_out_records"] += len(chosen.expressions)
                left_out["boxes_of_left_out_records"] += _boxes(chosen)
                continue
            yield chosen, self.results.image_key(record), image


def _add(counts: Counter[str], record: Record) -> None:
    counts["records"] += 1
    counts["expressions"] += len(record.expressions)
    counts["boxes"] += _boxes(record)


def _boxes(record: Record) -> int:
    return sum(len(expression.instances) for expression in record.expressions)


def _report(
    by_part: dict[str, _PartCounts], read: Counter[str], left_out: Counter[str], folder: Path
) -> dict[str, Any]:
    parts = {part or "all": counts.plain() for part, counts in by_part.items()}
    return {
        **{name: sum(part[name] for part in parts.values()) for name in next(iter(parts.values()))},
        "read": dict(read),
        "left_out": dict(left_out),
        "parts": parts,
        "files": [CARD, *sorted(path.name for path in folder.iterdir())],
    }


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
        "rows": {Markup(kind): _row(kind, report) for kind in ("records", "expressions", "boxes")},
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
        "shares": "/".join(map(str, plan.split.shares)) if len(plan.split.parts) > 1 else "none",
        "seed": plan.split.seed,
    }


def _row(kind: str, report: dict[str, Any]) -> tuple[int, int, int]:
    """In the results, left out, exported: the first is the sum of the others."""
    left = sum(n for name, n in report["left_out"].items() if name.startswith(f"{kind}_"))
    return report["read"][kind], left, report[kind]


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
