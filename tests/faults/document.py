# SPDX-License-Identifier: Apache-2.0
"""The table of references/reliability.md, made from the rows: ``make reliability``."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from faults.fault import Fault
from faults.rows import FAULTS

DOCUMENT = Path(__file__).resolve().parents[2] / "references" / "reliability.md"
# What stands above it is written by hand.
MARK = "## What is injected, and what happens\n"
TITLES = {
    "input": "Input",
    "picture": "Pictures",
    "endpoint": "Endpoint",
    "answer": "Answers of the endpoint",
    "reply": "Replies of the model",
    "state": "Files of an earlier run",
    "system": "The machine",
    "signal": "Signals",
    "secret": "The key",
    "injection": "Hostile text",
}


def table() -> str:
    """The part of the document from ``MARK`` on."""
    parts = [MARK.rstrip()]
    for group, faults in groupby(FAULTS, lambda fault: fault.group):
        parts += ["", f"### {TITLES[group]}", "", "| Fault | What happens | Exit code |"]
        parts += ["|---|---|---|", *map(_line, faults)]
    return "\n".join(parts) + "\n"


def _line(fault: Fault) -> str:
    code = fault.outcome.code
    cells = (_capital(fault.name), fault.outcome.sentence, str(code) if code >= 0 else "")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def written(document: str) -> str:
    """The document with the table as it is now."""
    return document.partition(MARK)[0] + table()


def groups() -> Iterator[str]:
    """Names of the groups, in order."""
    yield from dict.fromkeys(fault.group for fault in FAULTS)


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
