# SPDX-License-Identifier: Apache-2.0
"""Tables for people, on stderr."""

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from image_grounding.terminal import printable


def show_records(path: Path, count: int) -> None:
    """The phrases and boxes of the first ``count`` records of a file."""
    table = Table("image", "referring expression", escape("box [x1, y1, x2, y2]"), "score")
    with path.open(encoding="utf-8") as lines:
        for line in islice(lines, count):
            record = json.loads(line)
            for expression in record["expressions"]:
                instances = expression["instances"] or [{"bbox": "not seen", "score": None}]
                for instance in instances:
                    score = "" if instance["score"] is None else f"{instance['score']:.2f}"
                    row = (record["image_path"], expression["text"], str(instance["bbox"]), score)
                    table.add_row(*(Text(printable(text)) for text in row))
    Console(stderr=True).print(table)


def show_findings(report: Mapping[str, Any]) -> None:
    """The counts of a dry run, then the first few problems."""
    table = Table("dry run", report["status"])
    table.columns[1].justify = "right"
    for name in ("lines", "samples", "finished", "repeated_lines"):
        table.add_row(name.replace("_", " "), str(report[name]))
    table.add_row("images", str(report["images"]["unique"]))
    table.add_row("images decoded", str(report["images"]["decoded"]))
    for reason, count in report["unusable"]["by_reason"].items():
        table.add_row(f"[red]{reason.replace('_', ' ')}", str(count))
    table.add_row("wrong width or height", str(report["wrong_sizes"]["total"]))
    table.add_section()
    estimate = report["estimate"] or {}
    for name, value in estimate.items():
        if name != "note" and not isinstance(value, dict):
            table.add_row(name.replace("_", " "), "unknown" if value is None else f"{value:,}")
    console = Console(stderr=True)
    console.print(table)
    if note := estimate.get("note"):
        console.print(Text(printable(note)), highlight=False, soft_wrap=True)
    unusable, sizes = report["unusable"], report["wrong_sizes"]
    wrong = [f"line {entry['line']}: {entry['message']}" for entry in unusable["first"]]
    wrong += sizes["first"]
    for text in wrong:
        console.print(Text(printable(text)), highlight=False, soft_wrap=True)
    if (more := unusable["total"] + sizes["total"] - len(wrong)) > 0:
        console.print(f"... and {more} more")
