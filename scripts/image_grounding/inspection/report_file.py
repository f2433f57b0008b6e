# SPDX-License-Identifier: Apache-2.0
"""``report.json``: an inspection for programs, without the pictures."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from image_grounding.files import clean_json, write_atomic
from image_grounding.inspection.model import Card, Inspection
from image_grounding.inspection.page import run_identity

FORMAT = 1


def write_report(inspection: Inspection, path: Path) -> None:
    """Write the file; its schema is ``specs/schemas/report.schema.json``.

    Raises:
        OutputError: the file cannot be written.
    """
    write_atomic(path, clean_json(report_of(inspection), indent=2) + "\n")


def read_picks(path: Path) -> tuple[dict[str, str], str | None]:
    """Why each sample is in a report, by sample_id, and the fingerprint of its run.

    Empty where there is no readable report.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        picks = {card["sample_id"]: card["picked"] for card in content["cards"]}
        return picks, content["run"]["fingerprint"]
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        return {}, None


def report_of(inspection: Inspection) -> dict[str, Any]:
    """An inspection as plain values."""
    return {
        "format": FORMAT,
        "run": run_identity(inspection),
        **short_report(inspection),
        "facts": dict(inspection.facts),
        "failures": inspection.failures,
        "limits": inspection.limits,
        "charts": [
            {
                "title": chart.title,
                "bars": [{"label": label, "count": count} for label, count in chart.bars],
            }
            for chart in inspection.charts
        ],
        "cards": [_card(card) for card in inspection.cards],
    }


def short_report(inspection: Inspection) -> dict[str, Any]:
    """The part that ``inspect.py`` prints: verdict, counts, findings, flags."""
    return {
        "verdict": inspection.verdict,
        "headline": inspection.headline,
        "step": inspection.step,
        "counts": inspection.counts,
        "findings": [asdict(finding) for finding in inspection.findings],
        "flags": inspection.flags,
        "sampled": len(inspection.cards),
        "sampled_from": inspection.sampled_from,
    }


def _card(card: Card) -> dict[str, Any]:
    return {
        "index": card.index,
        "sample_id": card.record.sample_id,
        "image_path": card.record.image_path,
        "picked": card.picked,
        "because": card.because,
        "flags": [{**asdict(flag), "instances": list(flag.instances)} for flag in card.flags],
    }
