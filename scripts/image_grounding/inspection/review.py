# SPDX-License-Identifier: Apache-2.0
"""Precision of boxes and phrases from a review, with its uncertainty.

The sample of a report is biased: the worst records are always in it. So precision, precision by
score and thresholds use the random cards alone, or all records where each was reviewed; rates by
flag use every reviewed card. Boxes of one picture count as independent, which makes the intervals
somewhat narrow where pictures hold many boxes.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from image_grounding.images.pixels import read_header
from image_grounding.inspection.checks import Subject, check_record
from image_grounding.inspection.marks import Judgement, Key, Marks, judgements_of
from image_grounding.inspection.model import Flag, Picked
from image_grounding.inspection.thresholds import Threshold, score_step, thresholds
from image_grounding.inspection.wilson import Rate
from image_grounding.results.reading import Record, Results

SCORE_EDGES = (0.3, 0.5, 0.7, 0.8, 0.9)
AREA_EDGES = (0.01, 0.1)  # of the image


class Basis(StrEnum):
    """Which cards a precision is computed from."""

    ALL = "all"
    RANDOM = "random"
    NONE = "none"


@dataclass
class Figures:
    """Rates over reviewed expressions; ``unmarked`` expressions of their cards have no mark."""

    cards: int = 0
    unmarked: int = 0
    phrases: Rate = field(default_factory=Rate)
    boxes: Rate = field(default_factory=Rate)
    complete: Rate = field(default_factory=Rate)
    by_score: list[Rate] = field(default_factory=lambda: _rates(len(SCORE_EDGES) + 2))
    by_area: list[Rate] = field(default_factory=lambda: _rates(len(AREA_EDGES) + 1))
    scored: list[tuple[int, bool]] = field(default_factory=list)

    def add(self, record: Record, judgements: list[Judgement]) -> None:
        """Count the judgements of a record."""
        self.cards += 1
        self.unmarked += len(record.expressions) - len(judgements)
        pixels = max(record.size[0] * record.size[1], 1)
        for judgement in judgements:
            self.phrases.add(judgement.phrase)
            if judgement.phrase:
                self.complete.add(not judgement.missing)
            for _, instance, good in judgement.boxes:
                x1, y1, x2, y2 = instance.bbox
                area = (x2 - x1) * (y2 - y1) / pixels
                self.boxes.add(good)
                self.by_area[bisect_left(AREA_EDGES, area)].add(good)
                if instance.score is None:
                    self.by_score[-1].add(good)
                    continue
                self.by_score[sum(instance.score >= edge for edge in SCORE_EDGES)].add(good)
                self.scored.append((score_step(instance.score), good))


@dataclass(frozen=True)
class Review:
    """The figures of a review.

    Attributes:
        basis: which cards ``figures`` are computed from.
        figures: figures that represent the data; empty where no card does.
        reviewed: figures of every reviewed card.
        flags: for each check, rates of flagged phrases and of flagged boxes.
        thresholds: one for each reviewed score, the highest first.
        unknown_marks: marked expressions that the results lack, or have with other boxes.
        random_left: random cards without a mark.
        random_passed: random cards without a mark that were drawn before a marked one.
        records: how many records have an expression.
        same_score: the largest share of all scored boxes that have one and the same score.
    """

    basis: Basis
    figures: Figures
    reviewed: Figures
    flags: Mapping[str, tuple[Rate, Rate]]
    thresholds: tuple[Threshold, ...]
    unknown_marks: int
    random_left: int
    random_passed: int
    records: int
    same_score: float = 0.0


def review_run(results: Results, marks: Marks, picks: Mapping[str, str]) -> Review:
    """Apply marks to results, in one pass.

    Args:
        results: the reviewed results.
        marks: the review.
        picks: why each sample was shown, by sample_id, random samples in the order of the draw;
            empty where unknown.

    Raises:
        InputError: a line of the results is no record.
    """
    random_figures, all_figures = Figures(), Figures()
    flags: defaultdict[str, tuple[Rate, Rate]] = defaultdict(lambda: (Rate(), Rate()))
    all_scores: Counter[int | None] = Counter()
    samples = {sample_id for sample_id, _ in marks.by_expression}
    places = {sample_id: place for place, sample_id in enumerate(picks)}
    known_marks: set[Key] = set()
    reviewed: set[str] = set()
    unmarked_random: set[str] = set()
    records = 0
    for record in results.records():
        sample = record.sample_id
        is_random = picks.get(sample) == Picked.RANDOM
        all_scores.update(
            None if instance.score is None else score_step(instance.score)
            for expression in record.expressions
            for instance in expression.instances
        )
        if sample in reviewed or not record.expressions:  # a repeated line counts once
            continue
        records += 1
        judgements = list(judgements_of(record, marks)) if sample in samples else []
        if not judgements:
            unmarked_random |= {sample} if is_random else set()
            continue
        reviewed.add(sample)
        known_marks |= {
            (sample, record.expressions[judgement.number].expression_id) for judgement in judgements
        }
        all_figures.add(record, judgements)
        if is_random:
            random_figures.add(record, judgements)
        subject = Subject(record, read_header(results.image_of(record)))
        _count_flags(flags, check_record(subject), judgements)
    every_record = all_figures.cards == records
    figures = all_figures if every_record else random_figures
    last_marked = max(
        (places[sample_id] for sample_id in reviewed if picks.get(sample_id) == Picked.RANDOM),
        default=0,
    )
    return Review(
        basis=Basis.ALL if every_record else Basis.RANDOM if random_figures.cards else Basis.NONE,
        figures=figures,
        reviewed=all_figures,
        flags=dict(sorted(flags.items())),
        thresholds=tuple(thresholds(figures.scored, all_scores)),
        unknown_marks=len(marks.by_expression.keys() - known_marks),
        random_left=len(unmarked_random),
        random_passed=sum(places[sample_id] < last_marked for sample_id in unmarked_random),
        records=records,
        same_score=_same_score(all_scores),
    )


def _same_score(all_scores: Counter[int | None]) -> float:
    counts = [count for step, count in all_scores.items() if step is not None]
    return max(counts) / sum(counts) if counts else 0.0


def _count_flags(
    rates: defaultdict[str, tuple[Rate, Rate]],
    flags: tuple[Flag, ...],
    judgements: list[Judgement],
) -> None:
    for name in {flag.check for flag in flags}:
        own = [flag for flag in flags if flag.check == name]
        for judgement in judgements:
            here = [flag for flag in own if flag.expression in (None, judgement.number)]
            if not here:
                continue
            phrases, boxes = rates[name]
            phrases.add(judgement.phrase)
            for index, _, good in judgement.boxes:
                if any(not flag.instances or index in flag.instances for flag in here):
                    boxes.add(good)


def _rates(count: int) -> list[Rate]:
    return [Rate() for _ in range(count)]
