# SPDX-License-Identifier: Apache-2.0
"""A review and its advice as the plain values that ``inspect.py --review`` prints."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from image_grounding.inspection.advice import Advice, needed_for_half_width
from image_grounding.inspection.review import AREA_EDGES, SCORE_EDGES, Review
from image_grounding.inspection.wilson import Rate


def review_report(
    review: Review, advice: Advice, target: float, half_width: float
) -> dict[str, Any]:
    """The whole report; precisions are None where no card represents the data."""
    figures, threshold = review.figures, advice.threshold
    return {
        "decision": advice.decision,
        "advice": list(advice.sentences),
        "review_more": advice.cards,
        "target": target,
        "basis": review.basis,
        "cards": figures.cards,
        "cards_picked": review.reviewed.cards - figures.cards,
        "random_cards_left": review.random_left,
        "unknown_marks": review.unknown_marks,
        "boxes": figures.boxes.as_json(),
        "phrases": figures.phrases.as_json(),
        "complete": figures.complete.as_json(),
        "scores": _by_name([*_band_names(SCORE_EDGES, 1.0), "none"], figures.by_score),
        "areas": _by_name(_band_names(AREA_EDGES, 1.0), figures.by_area),
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
        "more": {"half_width": half_width, **needed_for_half_width(review, half_width)},
    }


def basis_sentence(content: Mapping[str, Any]) -> str:
    """One sentence on the cards that the precision is computed from."""
    picked = content["cards_picked"]
    besides = f"; {picked} picked ones count for flags alone" if picked else ""
    match content["basis"]:
        case "random":
            return f"Precision on {content['cards']} random cards{besides}."
        case "all":
            return f"Precision on all {content['cards']} records."
    return f"No precision: 0 random cards{besides}."


def _band_names(edges: tuple[float, ...], last: float) -> list[str]:
    bounds = (0, *edges, last)
    return [f"{low:g}-{high:g}" for low, high in pairwise(bounds)]


def _by_name(names: list[str], rates: list[Rate]) -> dict[str, dict[str, Any]]:
    return {name: rate.as_json() for name, rate in zip(names, rates, strict=True) if rate.total}
