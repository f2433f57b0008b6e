# SPDX-License-Identifier: Apache-2.0
"""What an inspection finds: the values between the checks, the page and ``report.json``."""

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
    """What a check is, for people: shown by the report and listed in the documents.

    Attributes:
        name: short and stable, as in ``--only tiny_box``.
        sentence: what it means where it is found.
        remedy: what to do about it.
        dataset: whether it judges all records together and not one of them.
        weight: how much a flag of it adds to a record's place among the worst.
    """

    name: str
    sentence: str
    remedy: str
    dataset: bool = False
    weight: int = 1


@dataclass(frozen=True)
class Flag:
    """A check that found something in one record.

    Attributes:
        check: name of the check.
        detail: the figures, in a few words.
        expression: index of the expression that it is about; None for the whole record.
        instances: indices of the boxes in that expression that it is about.
    """

    check: str
    detail: str = ""
    expression: int | None = None
    instances: tuple[int, ...] = ()


@dataclass(frozen=True)
class Finding:
    """A check over the whole data set.

    ``value`` is the figure that was judged, ``limit`` the one that it was judged by; None
    where the check has none.
    """

    check: str
    level: Level
    sentence: str
    remedy: str
    value: float | None = None
    limit: float | None = None


class Picked(StrEnum):
    """Why a record was sampled; only ``RANDOM`` ones stand for all records."""

    RANDOM = "random"
    WORST = "worst"
    FLAG = "flag"
    ONLY = "only"


@dataclass(frozen=True)
class Card:
    """A record to be looked at.

    Attributes:
        index: counts the records of the file from 0.
        record: the record.
        flags: what the checks found in it.
        image: its picture.
        picked: why it is here.
        because: what it would be here for if it had not been drawn; empty for nothing.
    """

    index: int
    record: Record
    flags: tuple[Flag, ...]
    image: Path
    picked: Picked = Picked.RANDOM
    because: str = ""


@dataclass(frozen=True)
class Chart:
    """A bar chart: counts by label, in the order they are shown in."""

    title: str
    bars: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Inspection:
    """All of it.

    Attributes:
        verdict: ``pass``, ``warn`` or ``fail``: the worst level of the findings.
        headline: the verdict in one plain sentence.
        facts: (name, value) pairs of the run, fit to be shown: model, convention and its
            measured IoU, samples, tokens, cost.
        counts: figures of the data: records, expressions, boxes, ungrounded and so on.
        flags: for each check, the number of records in which it found something.
        failures: samples that failed, by step and reason.
        findings: dataset-level results, worst first.
        limits: the thresholds of the spec that the findings were judged by.
        charts: the small charts.
        cards: the sampled records; those drawn at random first, in the order they were drawn.
        step: "0" or "1".
        sampled_from: how many records the cards were sampled from.
        summary: the run's ``run_summary.json``.
        checks: what the checks named by flags are, by name.
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
