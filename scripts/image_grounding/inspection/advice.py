# SPDX-License-Identifier: Apache-2.0
"""What to do after a review: scale, scale above a score, change something, or review N more.

A rate is decided once its interval lies on one side of the target. It is also decided once the
interval is as narrow as asked for with the target still inside: then the share itself counts,
because more review would change little. This bounds the reviewing.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from image_grounding.inspection.review import Basis, Figures, Review
from image_grounding.inspection.thresholds import Threshold
from image_grounding.inspection.wilson import Rate, trials_needed, trials_to_decide

_MIN_SHARE_KEPT = 0.5  # a threshold that keeps less is no way out
_MIN_COMPLETE = 0.9
_SAME_SCORE = 0.95  # share of the boxes with one score, above which scores tell nothing


class Decision(StrEnum):
    """What a review allows."""

    SCALE = "scale"
    SCALE_ABOVE_SCORE = "scale_above_score"
    REVIEW_MORE = "review_more"
    CHANGE = "change"


@dataclass(frozen=True)
class Advice:
    """A decision with its reasons.

    Attributes:
        decision: what to do.
        sentences: why, for people.
        cards: how many more random cards to review; 0 unless the decision is ``REVIEW_MORE``.
        threshold: the lowest least score whose boxes certainly reach the target, or None.
    """

    decision: Decision
    sentences: tuple[str, ...]
    cards: int
    threshold: Threshold | None


@dataclass(frozen=True)
class _Progress:
    """A rate against the target: 1 reached, -1 missed, 0 open with ``more`` trials needed."""

    side: int
    more: int = 0


def advise(review: Review, target: float, half_width: float) -> Advice:
    """Compare the intervals with the wanted precision.

    Args:
        review: the figures of the review.
        target: the wanted precision of phrases and of boxes.
        half_width: a 95 % interval no wider than twice this is narrow enough.
    """
    figures = review.figures
    reaching = [option for option in review.thresholds if option.reaches(target)]
    threshold = reaching[-1] if reaching else None
    phrases = _progress(figures.phrases, target, half_width)
    boxes = _progress(figures.boxes, target, half_width)
    if not figures.boxes.total and figures.phrases.total:
        boxes = _Progress(1)
    sentences = list(_caveats(review))
    more = {"phrases": phrases.more, "boxes": boxes.more}
    if phrases.side < 0:
        decision = Decision.CHANGE
    elif boxes.side < 0:
        if threshold and threshold.share_kept >= _MIN_SHARE_KEPT:
            decision = Decision.REVIEW_MORE if phrases.more else Decision.SCALE_ABOVE_SCORE
        else:
            more["boxes"] = _boxes_to_a_threshold(review, target, half_width)
            decision = Decision.REVIEW_MORE if more["boxes"] else Decision.CHANGE
    else:
        decision = Decision.REVIEW_MORE if phrases.more or boxes.more else Decision.SCALE
    cards = 0
    match decision:
        case Decision.SCALE:
            sentences.append(_scale_sentence(figures, target))
        case Decision.SCALE_ABOVE_SCORE if threshold:
            sentences.append(_above_sentence(threshold))
        case Decision.CHANGE:
            sentences += _change_sentences(figures, phrases, boxes, target)
        case Decision.REVIEW_MORE:
            cards = cards_for(review, more)
            sentences += _review_more_sentences(review, cards, target)
    if review.same_score > _SAME_SCORE and (threshold or boxes.side < 0):
        sentences.append(
            f"Warning: {review.same_score:.0%} of the boxes have one and the same score. A least "
            "score (export --min-score) keeps or drops them together and tells nothing of the rest."
        )
    complete = figures.complete.share
    if complete is not None and complete < _MIN_COMPLETE:
        sentences.append(
            f"{1 - complete:.0%} of the phrases miss an instance: a higher resolution "
            "(vlm.image.max_pixels) or a stronger model sees more."
        )
    return Advice(decision, tuple(sentences), cards, threshold)


def _boxes_to_a_threshold(review: Review, target: float, half_width: float) -> int:
    """How many more boxes may prove a threshold that keeps enough; 0 where none can."""
    needed = [
        math.ceil(_progress(option.precision, target, half_width).more / option.share_reviewed)
        for option in review.thresholds
        if option.share_kept >= _MIN_SHARE_KEPT
        and option.precision.good >= target * option.precision.total
    ]
    return min(filter(None, needed), default=0)


def cards_for(review: Review, more: dict[str, int]) -> int:
    """How many cards hold that many ``phrases`` and ``boxes``, by the reviewed cards."""
    reviewed = review.reviewed
    rates = {"phrases": reviewed.phrases, "boxes": reviewed.boxes}
    return max(
        math.ceil(wanted * reviewed.cards / max(rates[name].total, 1))
        for name, wanted in more.items()
    )


def needed_for_half_width(review: Review, half_width: float) -> dict[str, int]:
    """How many more phrases, boxes and cards make both intervals this narrow."""
    phrases, boxes = review.figures.phrases, review.figures.boxes
    more = {
        "phrases": _missing_trials(phrases, half_width),
        "boxes": _missing_trials(boxes, half_width),
    }
    if phrases.total and not boxes.total:
        more["boxes"] = 0
    return {**more, "cards": cards_for(review, more)}


def _missing_trials(rate: Rate, half_width: float) -> int:
    share = 1.0 if rate.share is None else rate.share
    return max(trials_needed(share, half_width) - rate.total, 0)


def _progress(rate: Rate, target: float, half_width: float) -> _Progress:
    share = 1.0 if rate.share is None else rate.share
    low, high = rate.interval
    if low >= target:
        return _Progress(1)
    if high < target:
        return _Progress(-1)
    if high - low <= 2 * half_width:
        return _Progress(1 if share >= target else -1)
    needed = min(trials_to_decide(share, target), trials_needed(share, half_width))
    return _Progress(0, max(needed - rate.total, 1))


def _caveats(review: Review) -> list[str]:
    caveats = []
    if review.basis is Basis.NONE:
        caveats.append(
            "No precision can be given: none of the reviewed cards is known to be drawn at random, "
            "and those that were picked for their looks or by --only say nothing of the rest."
        )
    elif review.basis is Basis.RANDOM and review.random_passed:
        caveats.append(
            f"{review.random_passed} random cards were passed over without a mark: if they were "
            "the hard ones, the figures are too good."
        )
    if review.figures.unmarked:
        caveats.append(
            f"{review.figures.unmarked} phrases of the reviewed cards have no mark: mark all or "
            "none of a card, or the figures are those of the phrases that you chose."
        )
    return caveats


def _scale_sentence(figures: Figures, target: float) -> str:
    both = {"phrases": figures.phrases, "boxes": figures.boxes}
    reviewed = {name: rate for name, rate in both.items() if rate.total}
    least = min(rate.interval[0] for rate in reviewed.values())
    if least >= target:
        return f"Scale: {' and '.join(reviewed)} are right in at least {target:.0%} of cases."
    named = " and ".join(f"{name} {_percent(rate)}" for name, rate in reviewed.items())
    return (
        f"Scale: right are {named}; that is as exactly as was asked for, and at least "
        f"{least:.1%} is certain."
    )


def _above_sentence(threshold: Threshold) -> str:
    return (
        f"Scale and keep boxes with a score of at least {threshold.score:g} (export --min-score): "
        f"{threshold.share_kept:.0%} of them. Of the reviewed ones {threshold.precision.good} of "
        f"{threshold.precision.total} such boxes are right, so that at least "
        f"{threshold.precision.interval[0]:.1%} is certain."
    )


def _change_sentences(
    figures: Figures, phrases: _Progress, boxes: _Progress, target: float
) -> list[str]:
    sentences = [f"Do not scale yet: {target:.0%} is not reached."]
    if phrases.side < 0:
        sentences.append(
            f"Phrases are right in {_percent(figures.phrases)}: change step 0, with a stronger "
            "model, a lower temperature or cleaner captions."
        )
    if boxes.side < 0:
        small, rest = figures.by_area[0], _sum(figures.by_area[1:])
        if small.total and rest.total and small.interval[1] < rest.interval[0]:
            sentences.append(
                f"Small boxes are right in {_percent(small)}, the others in {_percent(rest)}: "
                "raise the resolution (vlm.image.max_pixels, media_resolution)."
            )
        else:
            sentences.append(
                f"Boxes are right in {_percent(figures.boxes)}, large or small: measure the "
                "convention with check_endpoint.py; if it is right, change the model."
            )
    return sentences


def _review_more_sentences(review: Review, cards: int, target: float) -> list[str]:
    needed = f"Review {cards} more random cards: whether {target:.0%} is reached is not known yet."
    total = review.figures.cards + cards
    if total > review.records:
        how = f"The results hold {review.records} records only: annotate a larger pilot first."
    elif cards <= review.random_left:
        how = "The report has them: the cards of the random sample that have no mark."
    else:
        how = (
            f"The report has {review.random_left} of them; make a larger one with --sample "
            f"{2 * total}, in which the marks that you made still stand."
        )
    return [needed, how]


def _percent(rate: Rate) -> str:
    low, high = rate.interval
    share = "none" if rate.share is None else f"{rate.share:.1%}"
    return f"{share} ({low:.1%} to {high:.1%})"


def _sum(rates: list[Rate]) -> Rate:
    return Rate(sum(rate.good for rate in rates), sum(rate.total for rate in rates))
