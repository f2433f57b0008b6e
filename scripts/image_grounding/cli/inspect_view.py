# SPDX-License-Identifier: Apache-2.0
"""The tables and messages of ``inspect.py`` on stderr."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from image_grounding.inspection.model import Inspection
from image_grounding.inspection.review_report import basis_sentence
from image_grounding.terminal import printable

_COLOURS = {"pass": "green", "warn": "yellow", "fail": "red"}


class View:
    """Tables and messages on stderr; silent with ``quiet``."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, quiet=quiet)

    def say(self, text: str) -> None:
        """Show a message."""
        if not self._quiet:
            click.echo(printable(text), err=True)

    def inspection(self, inspection: Inspection, page: Path) -> None:
        """Show verdict, facts, findings and flags."""
        colour = _COLOURS[inspection.verdict]
        self._console.print(f"[bold {colour}]{inspection.verdict.upper()}[/]", highlight=False)
        self.say(inspection.headline)
        counts = [(name.replace("_", " "), count) for name, count in inspection.counts.items()]
        self._table((), [*inspection.facts, *counts])
        self._table(
            ("level", "check", "finding", "remedy"),
            [
                (finding.level, finding.check, finding.sentence, finding.remedy)
                for finding in inspection.findings
            ],
        )
        self._table(
            ("flag", "records", "meaning"),
            [
                (name, str(count), inspection.checks[name].sentence)
                for name, count in inspection.flags.items()
            ],
        )
        self.say(f"{len(inspection.cards)} of {inspection.sampled_from} records are in {page}")

    def review(self, content: Mapping[str, Any]) -> None:
        """Show the figures of ``review_report``."""
        rows = [(name, content[name]) for name in ("phrases", "boxes", "complete")]
        rows += [(f"score {name}", rate) for name, rate in content["scores"].items()]
        rows += [(f"area {name}", rate) for name, rate in content["areas"].items()]
        for name, rates in content["flags"].items():
            rows += [(f"{name}: {what}", rate) for what, rate in rates.items()]
        self._table(
            ("", "right", "reviewed", "precision", "95 % interval"),
            [(name, *_figures(rate)) for name, rate in rows if rate["reviewed"]],
        )
        self.say(basis_sentence(content))
        for sentence in content["advice"]:
            self.say(sentence)

    def _table(self, header: tuple[str, ...], rows: Any) -> None:
        table = Table(*header, show_header=bool(header))
        for row in rows:
            table.add_row(*(Text(printable(str(cell))) for cell in row))
        if table.rows:
            self._console.print(table)


def _figures(rate: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = rate["interval"]
    return (
        str(rate["good"]), str(rate["reviewed"]),
        f"{rate['precision']:.3f}", f"{low:.3f} to {high:.3f}",
    )  # fmt: skip
