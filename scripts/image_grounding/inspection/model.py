# SPDX-License-Identifier: Apache-2.0
"""The values that checks produce and that the page and ``report.json`` show."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from image_grounding.results.reading import Record


class Level(StrEnum):
    """How much a finding matters; only ``FAIL`` closes the gate."""

    INFO = "info"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """A check as the report shows it and the documents list it.

    Attributes:
        name: short and stable, as in ``--only tiny_box``.
        sentence: what a flag or finding of it means.
        remedy: what to do about it.
        dataset: whether it looks at all records together instead of one.
        weight: how much a flag of it adds to the rank of a record among the worst; 0 for a check
            that only informs and raises no doubt.
    """

    name: str
    sentence: str
    remedy: str
    dataset: bool = False
    weight: int = 1


@dataclass(frozen=True)
class Flag:
    """Something that a check found in one record.

    Attributes:
        check: name of the check.
        detail: the figures, in a few words.
        expression: index of the expression concerned; None for the whole record.
        instances: indices of the boxes concerned in that expression.
    """

    check: str
    detail: str = ""
    expression: int | None = None
    instances: tuple[int, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something that a check found in the whole data set.

    ``value`` is the measured figure, ``limit`` its threshold; None where the check has none.
    """

    check: str
    level: Level
    sentence: str
    remedy: str
    value: float | None = None
    limit: float | None = None


class Picked(StrEnum):
    """Why a record was sampled; only ``RANDOM`` records represent the data set."""

    RANDOM = "random"
    WORST = "worst"
    FLAG = "flag"
    ONLY = "only"


def without_box(record: Record, number: int) -> str:
    """What to show in place of the boxes of an expression that has none."""
    if not record.grounded:
        return "not grounded yet"
    if record.fields["expressions"][number].get("status") == "absent":
        return "absent: the model looked and saw none"
    return "no box"  # of results that do not say why


@dataclass(frozen=True)
class KeptReply:
    """A reply of the model to step ``step``; a long text is cut."""

    step: str
    text: str


@dataclass(frozen=True)
class Card:
    """A record to look at.

    Attributes:
        index: place of the record in the file, from 0.
        record: the record.
        flags: what the checks found in it.
        image: its image file.
        picked: why it was sampled.
        because: the reason besides the random draw; empty where there is none.
        replies: what the model wrote, where the run kept it.
    """

    index: int
    record: Record
    flags: tuple[Flag, ...]
    image: Path | str
    picked: Picked = Picked.RANDOM
    because: str = ""
    replies: tuple[KeptReply, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A bar chart: counts by label, in display order."""

    title: str
    bars: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Inspection:
    """The result of inspecting a run.

    Attributes:
        verdict: ``pass``, ``warn`` or ``fail``: the worst level of the findings.
        headline: the verdict in one plain sentence.
        facts: (name, value) pairs of the run to display: model, convention and its measured
            IoU, samples, tokens, cost.
        counts: figures of the data: records, expressions, boxes, ungrounded and so on.
        flags: for each check, the number of records that it flags.
        failures: number of failed samples, by step and reason.
        findings: dataset-level results, worst first.
        limits: the thresholds of the spec that the findings refer to.
        charts: the small charts.
        cards: the sampled records; random ones first, in the order of the draw.
        step: number of the inspected step, "0" or "1".
        sampled_from: how many records the cards were sampled from.
        summary: the ``run_summary.json`` of the run.
        checks: every check, by name.
    """

    verdict: str
    headline: str
    facts: tuple[tuple[str, str], ...]
    counts: Mapping[str, int]
    flags: Mapping[str, int]
    failures: Mapping[str, Mapping[str, int]]
    findings: tuple[Finding, ...]
    charts: tuple[Chart, ...]
    cards: tuple[Card, ...]
    step: str
    sampled_from: int
    limits: Mapping[str, float] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    checks: Mapping[str, Check] = field(default_factory=dict)
