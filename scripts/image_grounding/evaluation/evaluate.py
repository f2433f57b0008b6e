# SPDX-License-Identifier: Apache-2.0
"""A run's records against a truth, image by image."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from image_grounding.errors import InputError
from image_grounding.evaluation.bootstrap import Interval, bootstrap_intervals
from image_grounding.evaluation.calibration import Reliability
from image_grounding.evaluation.matching import ImageIndex, find_example, match_phrases
from image_grounding.evaluation.metrics import Sums, add_phrase, assign, figures, ranked
from image_grounding.evaluation.truth import ImageKey, TruthExample
from image_grounding.results import GroundedExpression, Record

_SHOWN = 3
_COUNTS = (
    "records", "repeated_records", "images", "images_only_in_results", "images_only_in_truth",
    "records_without_caption_in_truth", "captions_without_record", "expressions",
    "expressions_unmatched", "phrases", "phrases_unmatched", "phrases_without_box",
    "records_not_grounded", "null_scores",
)  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    Attributes:
        figures: by name, see ``metrics.figures``.
        intervals: 95 % bounds by the same names.
        reliability: scores and right boxes by bin.
        ious: of the top-1 box of each matched phrase with a true box.
        counts: what was compared and what could not be.
    """

    figures: dict[str, float | None]
    intervals: dict[str, Interval | None]
    reliability: Reliability
    ious: list[float]
    counts: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Figures with bounds, counts, reliability."""
        return {
            "metrics": {
                name: {"value": value, "interval": self.intervals[name]}
                for name, value in self.figures.items()
            },
            "counts": self.counts,
            "reliability": self.reliability.as_json(),
        }


@dataclass
class _Predicted:
    """What was said of one example; several records where the truth has no captions."""

    same_caption: bool
    grounded: bool = True
    expressions: list[GroundedExpression] = field(default_factory=list)


class _Comparison:
    """Sums by image."""

    def __init__(self, truth: Sequence[TruthExample]) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(_COUNTS, 0))
        self.images: dict[ImageKey, Sums] = defaultdict(lambda: defaultdict(float))
        self.reliability = Reliability()
        self.ious: list[float] = []
        self._truth: dict[ImageKey, list[TruthExample]] = defaultdict(list)
        for example in truth:
            self._truth[example.image].append(example)
        self._index = ImageIndex(self._truth)
        self._predicted: dict[int, tuple[TruthExample, _Predicted]] = {}

    def add_records(self, records: Iterable[Record]) -> None:
        """Keep what is said of the truth's examples, and count the rest."""
        seen: set[str] = set()
        strangers: set[str] = set()
        met: set[ImageKey] = set()
        for record in records:
            self.counts["records"] += 1
            if record.sample_id in seen:
                self.counts["repeated_records"] += 1
                continue
            seen.add(record.sample_id)
            key = self._index.find(record)
            if key is None:
                strangers.add(record.image_path)
                continue
            met.add(key)
            example = find_example(record, self._truth[key])
            # A caption of the truth that another record has already answered.
            taken = example is not None and example.caption is not None
            if example is None or (taken and id(example) in self._predicted):
                self.counts["records_without_caption_in_truth"] += 1
                continue
            self._add(record, example)
        self.counts["images"] = len(met)
        self.counts["images_only_in_results"] = len(strangers)
        self.counts["images_only_in_truth"] = len(self._truth) - len(met)
        if not met:
            raise InputError(
                "no image of the results is in the truth; results have "
                f"{_some(strangers)}, the truth has {_some(map(str, self._truth))}"
            )
        self.counts["captions_without_record"] = sum(
            id(example) not in self._predicted for key in met for example in self._truth[key]
        )

    def _add(self, record: Record, example: TruthExample) -> None:
        same = example.caption is not None and example.caption == record.cleaned_caption
        _, said = self._predicted.setdefault(id(example), (example, _Predicted(same)))
        said.expressions += record.expressions
        if not record.grounded:
            said.grounded = False
            self.counts["records_not_grounded"] += 1

    def compare(self) -> None:
        """Add up each example that a record is there for."""
        for example, said in self._predicted.values():
            self._compare(example, said)

    def _compare(self, example: TruthExample, said: _Predicted) -> None:
        sums = self.images[example.image]
        pairs = match_phrases(said.expressions, example.phrases, same_caption=said.same_caption)
        sums["predicted"] += len(said.expressions)
        sums["expected"] += len(example.phrases)
        sums["matched"] += len(pairs)
        self.counts["expressions"] += len(said.expressions)
        self.counts["expressions_unmatched"] += len(said.expressions) - len(pairs)
        self.counts["phrases"] += len(example.phrases)
        self.counts["phrases_unmatched"] += len(example.phrases) - len(pairs)
        for number, phrase in enumerate(example.phrases):
            if not phrase.boxes:
                self.counts["phrases_without_box"] += 1
                continue
            if not said.grounded:
                continue
            matched = number in pairs
            best = ranked(said.expressions[pairs[number]].instances) if matched else []
            top = add_phrase(sums, phrase, best)
            if matched:
                self.ious.append(top)
            found = assign([one.bbox for one in best], phrase.boxes)
            for one, right in zip(best, found, strict=True):
                self.reliability.add(sums, one.score, right)


def evaluate(
    records: Iterable[Record],
    truth: Sequence[TruthExample],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Compare records with a truth; images and captions on one side only are counted aside.

    A phrase of the truth that no expression matches counts as not found. The truth is held in
    memory, and of the records what is said of it.

    Raises:
        InputError: no image is on both sides.
    """
    comparison = _Comparison(truth)
    comparison.add_records(records)
    comparison.compare()
    rows = list(comparison.images.values())
    sums: Sums = defaultdict(float)
    for row in rows:
        for name, value in row.items():
            sums[name] += value
    comparison.counts["null_scores"] = comparison.reliability.null_scores
    return Evaluation(
        figures(sums),
        bootstrap_intervals(rows, figures, resamples=resamples, seed=seed),
        comparison.reliability,
        comparison.ious,
        dict(comparison.counts),
    )


def _some(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in islice(sorted(names), _SHOWN)) or "none"
