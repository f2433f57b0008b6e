# SPDX-License-Identifier: Apache-2.0
"""What to do after a review, in plain words: scale, review more, or change something first."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from image_grounding.inspection.review import (
    AREA_EDGES,
    SCORE_EDGES,
    Figures,
    Review,
)
from image_grounding.inspection.wilson import Rate

# A threshold that keeps less than this is no way out.
_WORTH_KEEPING = 0.5
_OFTEN_INCOMPLETE = 0.9


class Decision(StrEnum):
    """What a review allows."""

    SCALE = "scale"
    SCALE_ABOVE_SCORE = "scale_above_score"
    REVIEW_MORE = "review_more"
    CHANGE = "change"


@dataclass(frozen=True)
class Advice:
    """A decision and why, a sentence each."""

    decision: Decision
    sentences: tuple[str, ...]


def advise(review: Review, target: float, half_width: float) -> Advice:
    """Weigh the intervals against the wanted precision.

    Scaling takes lower bounds at the target; an upper bound below it asks for a change; what
    lies between is not known yet. Where it is known as narrowly as was wished, the share itself
    decides, so that reviewing comes to an end.
    """
    figures = review.figures
    judged = [rate for rate in (figures.phrases, figures.boxes) if rate.total]
    told = [_told(rate, target, half_width) for rate in judged]
    sentences = [*_caveats(review)]
    if review.basis == "picked":
        decision = Decision.REVIEW_MORE
        sentences.append(
            "Make a report without --only and review its cards: only such as were drawn at random "
            "say how good the data are."
        )
    elif all(told):
        decision = Decision.SCALE
        what = "phrases and boxes" if figures.boxes.total else "phrases"
        low = min(rate.interval[0] for rate in judged)
        how = f"at least {target:.0%} of cases"
        if low < target:
            how = f"{target:.0%} of the reviewed cases or more, and surely in {low:.0%} of all"
        sentences.append(f"Scale: {what} are right in {how}.")
    elif False in told:
        decision = Decision.CHANGE
        enough = told[0] is not False
        if enough and review.threshold and review.threshold.share_kept >= _WORTH_KEEPING:
            decision = Decision.SCALE_ABOVE_SCORE
            sentences.append(
                f"Scale and keep boxes with a score of at least {review.threshold.score:g} "
                f"(export --min-score): {review.threshold.share_kept:.0%} of them. Of the reviewed "
                f"ones {review.threshold.precision.good} of {review.threshold.precision.total} "
                "such boxes are right."
            )
        else:
            sentences += _changes(figures, target, half_width)
    else:
        decision = Decision.REVIEW_MORE
        cards = review.still_to_review(target, half_width)["cards"]
        sentences.append(
            f"Whether {target:.0%} is reached is not known yet: review about {cards} cards more."
        )
    low_share = figures.complete.share
    if low_share is not None and low_share < _OFTEN_INCOMPLETE:
        sentences.append(
            f"{1 - low_share:.0%} of the phrases miss an instance: a higher resolution "
            "(vlm.image.max_pixels) or a stronger model sees more."
        )
    return Advice(decision, tuple(sentences))


def _told(rate: Rate, target: float, half_width: float) -> bool | None:
    """Whether a rate reaches the target; None where that is not known yet."""
    low, high = rate.interval
    if low >= target or high < target:
        return low >= target
    return (rate.share or 0.0) >= target if rate.known_within(half_width) else None


def _caveats(review: Review) -> list[str]:
    caveats = []
    if review.basis == "all":
        caveats.append(
            "The figures are of all reviewed cards, the worst among them, because none is known to "
            "be drawn at random: the data as a whole may be better."
        )
    elif review.basis == "picked":
        caveats.append(
            "The figures are of cards that were picked for a flag or as the worst: they stand for "
            "such records alone."
        )
    elif review.random_left:
        caveats.append(
            f"{review.random_left} cards drawn at random have no mark yet; the figures lean to the "
            "ones that were shown first until they have."
        )
    return caveats


def _changes(figures: Figures, target: float, half_width: float) -> list[str]:
    sentences = ["Do not scale yet."]
    if _told(figures.phrases, target, half_width) is False:
        sentences.append(
            f"Phrases are right in {figures.phrases.share:.0%}: change step 0, with a stronger "
            "model, a lower temperature or cleaner captions."
        )
    if figures.boxes.total and _told(figures.boxes, target, half_width) is False:
        small, rest = figures.by_area[0], _sum(figures.by_area[1:])
        if small.total and rest.total and small.interval[1] < rest.interval[0]:
            sentences.append(
                f"Small boxes are right in {small.share:.0%}, the others in {rest.share:.0%}: "
                "raise the resolution (vlm.image.max_pixels, media_resolution)."
            )
        else:
            sentences.append(
                f"Boxes are right in {figures.boxes.share:.0%}, large or small: measure the "
                "convention with check_endpoint.py; if it is right, change the model."
            )
    return sentences


def _sum(rates: list[Rate]) -> Rate:
    return Rate(sum(rate.good for rate in rates), sum(rate.total for rate in rates))


def review_report(
    review: Review, advice: Advice, target: float, half_width: float
) -> dict[str, Any]:
    """All of it as plain values."""
    figures, threshold = review.figures, review.threshold
    scores = [*_bands(SCORE_EDGES, 1.0), "none"]
    return {
        "decision": advice.decision,
        "advice": list(advice.sentences),
        "target": target,
        "basis": review.basis,
        "cards": figures.cards,
        "random_cards_left": review.random_left,
        "unknown_marks": review.unknown_marks,
        "boxes": figures.boxes.as_json(),
        "phrases": figures.phrases.as_json(),
        "complete": figures.complete.as_json(),
        "scores": _named(scores, figures.by_score),
        "areas": _named(_bands(AREA_EDGES, 1.0), figures.by_area),
        "flags": {
            name: {"phrases": phrases.as_json(), "boxes": boxes.as_json()}
            for name, (phrases, boxes) in review.flags.items()
        },
        "threshold": threshold
        and {
            "score": threshold.score,
            "share_kept": round(threshold.share_kept, 4),
            **threshold.precision.as_json(),
        },
        "more": {"half_width": half_width, **review.still_to_review(target, half_width)},
    }


def _bands(edges: tuple[float, ...], last: float) -> list[str]:
    bounds = (0, *edges, last)
    return [f"{low:g}-{high:g}" for low, high in pairwise(bounds)]


def _named(names: list[str], rates: list[Rate]) -> dict[str, dict[str, Any]]:
    return {name: rate.as_json() for name, rate in zip(names, rates, strict=True) if rate.total}
