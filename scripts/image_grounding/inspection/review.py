# SPDX-License-Identifier: Apache-2.0
"""Precision of boxes and phrases from a review, with its uncertainty.

Cards are not drawn evenly: the worst are always among them. So the headline figures, those by
score and the threshold count only cards that were drawn at random, where it is known which;
those by flag count every reviewed card. Boxes of one picture are counted as independent, which
makes the intervals somewhat narrow where pictures hold many boxes.
"""

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from image_grounding.images import read_header
from image_grounding.inspection.checks import Subject, check_record
from image_grounding.inspection.marks import Judgement, Key, Marks, judge
from image_grounding.inspection.model import Flag, Picked
from image_grounding.inspection.wilson import Rate, trials_needed, trials_to_tell
from image_grounding.results import Record, Results

SCORE_EDGES = (0.3, 0.5, 0.7, 0.8, 0.9)
AREA_EDGES = (0.01, 0.1)  # of the image
_GRID = 10_000  # scores are counted in steps of 1 in this many


@dataclass(frozen=True)
class Threshold:
    """A least score, the precision of the reviewed boxes from it on, and what it keeps."""

    score: float
    precision: Rate
    share_kept: float


@dataclass
class Figures:
    """Rates over some of the reviewed expressions."""

    cards: int = 0
    phrases: Rate = field(default_factory=Rate)
    boxes: Rate = field(default_factory=Rate)
    complete: Rate = field(default_factory=Rate)
    by_score: list[Rate] = field(default_factory=lambda: _rates(len(SCORE_EDGES) + 2))
    by_area: list[Rate] = field(default_factory=lambda: _rates(len(AREA_EDGES) + 1))
    scored: list[tuple[int, bool]] = field(default_factory=list)

    def add(self, record: Record, judgements: list[Judgement]) -> None:
        """Count what was said of a record."""
        self.cards += 1
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
                self.scored.append((_grid(instance.score), good))


@dataclass(frozen=True)
class Review:
    """What a review comes to.

    Attributes:
        basis: what ``figures`` are of: "random", the cards drawn at random; "picked", cards of
            which none was drawn so, that stand for nothing else; "all", where it is not known.
        figures: the figures that stand for the data.
        flags: for each check, rates of flagged phrases and of flagged boxes.
        threshold: the least score above which the precision surely reaches the target, or None.
        has_scores: whether any reviewed box has one.
        unknown_marks: marked expressions that the results do not hold, or not with these boxes.
        random_left: cards drawn at random that have no mark yet.
    """

    basis: str
    figures: Figures
    flags: Mapping[str, tuple[Rate, Rate]]
    threshold: Threshold | None
    has_scores: bool
    unknown_marks: int
    random_left: int

    def still_to_review(self, target: float, half_width: float) -> dict[str, int]:
        """How many phrases, boxes and cards more will tell on which side of ``target`` they are.

        Or make the intervals as narrow as ``half_width``, where that takes fewer. Cards by the
        number of phrases and boxes that the reviewed ones hold.
        """
        rates = {"phrases": self.figures.phrases, "boxes": self.figures.boxes}
        more, cards = {}, 0
        for name, rate in rates.items():
            needed = 0
            if rate.share is not None:
                telling = trials_to_tell(rate.share, target)
                needed = min(telling, trials_needed(rate.share, half_width))
            more[name] = max(needed - rate.total, 0)
            cards = max(cards, math.ceil(more[name] * self.figures.cards / max(rate.total, 1)))
        return {**more, "cards": cards}


def review_run(results: Results, marks: Marks, picks: Mapping[str, str], target: float) -> Review:
    """Put marks and results together, in one pass.

    Args:
        results: what was reviewed.
        marks: the review.
        picks: why each sample was picked, by sample_id, as far as it is known; what the review
            itself says goes before it.
        target: the precision that a threshold is to reach.

    Raises:
        InputError: a line of the results is no record.
    """
    drawn, everything = Figures(), Figures()
    picks = {**picks, **marks.picks}
    flags: defaultdict[str, tuple[Rate, Rate]] = defaultdict(lambda: (Rate(), Rate()))
    all_scores: Counter[int | None] = Counter()
    samples = {sample_id for sample_id, _ in marks.said}
    known: set[Key] = set()
    for record in results.records():
        all_scores.update(
            None if one.score is None else _grid(one.score)
            for expression in record.expressions
            for one in expression.instances
        )
        if record.sample_id not in samples:
            continue
        judgements = list(judge(record, marks))
        if not judgements:
            continue
        known |= {
            (record.sample_id, record.expressions[one.number].expression_id) for one in judgements
        }
        everything.add(record, judgements)
        if picks.get(record.sample_id) == Picked.RANDOM:
            drawn.add(record, judgements)
        subject = Subject(record, read_header(results.image_of(record)))
        _count_flags(flags, check_record(subject), judgements)
    figures = drawn if drawn.cards else everything
    all_known = all(sample_id in picks for sample_id, _ in known)
    random = {sample_id for sample_id, picked in picks.items() if picked == Picked.RANDOM}
    return Review(
        basis="random" if drawn.cards else "picked" if all_known else "all",
        figures=figures,
        flags=dict(sorted(flags.items())),
        threshold=_threshold(figures.scored, all_scores, target),
        has_scores=bool(figures.scored),
        unknown_marks=len(marks.said.keys() - known),
        random_left=len(random - {sample_id for sample_id, _ in known}),
    )


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


def _threshold(
    scored: list[tuple[int, bool]], all_scores: Counter[int | None], target: float
) -> Threshold | None:
    """The least score from which on the reviewed boxes say that all such are precise enough."""
    found: tuple[int, Rate] | None = None
    good = 0
    ranked = sorted(scored, reverse=True)
    for count, (score, right) in enumerate(ranked, start=1):
        good += right
        last = count == len(ranked) or ranked[count][0] < score
        rate = Rate(good, count)
        if last and rate.interval[0] >= target:
            found = (score, rate)
    if found is None:
        return None
    score, precision = found
    kept = sum(n for other, n in all_scores.items() if other is not None and other >= score)
    return Threshold(score / _GRID, precision, kept / all_scores.total())


def _grid(score: float) -> int:
    return math.floor(round(score * _GRID, 6))


def _rates(count: int) -> list[Rate]:
    return [Rate() for _ in range(count)]
