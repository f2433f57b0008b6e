# SPDX-License-Identifier: Apache-2.0
"""Signatures of a wrong box convention over many records, each named as such.

Boxes read in a wrong convention are boxes still; what gives them away is where all of them lie.
Each signature follows from one mistake, by the arithmetic of ``frames.py``:

* fractions read as pixels or as 0-1000: everything in the first pixel;
* 0-1000 read as pixels of a large photo: everything in its first 1000x1000 pixels;
* numbers in a smaller scale than was thought: boxes begin at the left and top borders but never
  reach the right and bottom ones;
* numbers in a larger scale: boxes are cut at the right and bottom borders, or fall outside;
* x and y exchanged: "on the left" is at the top; box shapes follow the images' shapes doubly.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from image_grounding.inspection.checks.chance import sign_test
from image_grounding.inspection.checks.placement import Placement
from image_grounding.inspection.model import Check, Finding, Level
from image_grounding.spec import Limits

_MIN_SIDE_WORDS = 20
_SIDE_WORDS_MARGIN = 0.25  # of the expressions that say a side
_FEWEST = 8  # boxes: with fewer even a full house is chance
_FEWEST_OUTSIDE = 3
# Pictures are as like as not mirrored: how likely so few boxes come so near the one border by
# chance, counted by boxes, and by records, in which boxes may keep together.
_BY_CHANCE = 1e-4
_RECORDS_BY_CHANCE = 0.01
_FOR_CERTAIN = 1e-6
# The difference of two shares of boxes that chance makes, over the root of their number.
_CHANCE_OF_SHARES = 1.5
_REMEDY = (
    "Do not scale. Set vlm.coordinates to auto, which measures the convention, and run again with "
    "workflow.force_reprocess=true."
)

FIRST_PIXEL = Check(
    "convention_fractions",
    "Wrong box convention: all boxes are in the first pixels of their images, as when fractions "
    "from 0 to 1 are read as pixels or as 0-1000.",
    _REMEDY + " The model seems to answer in norm1_xyxy.",
    dataset=True,
)
THOUSAND = Check(
    "convention_thousand",
    "Wrong box convention: all boxes are in the first 1000x1000 pixels of large images, as when "
    "numbers from 0 to 1000 are read as pixels.",
    _REMEDY + " The model seems to answer in norm1000_xyxy or norm1000_yxyx.",
    dataset=True,
)
SCALE_SMALL = Check(
    "convention_scale_small",
    "Wrong box convention: boxes begin at the left and top borders but stay away from the right "
    "or bottom ones, as when their numbers are in a smaller scale than was thought: pixels read "
    "as 0-1000, 0-1000 read as pixels, or pixels of a smaller image.",
    _REMEDY,
    dataset=True,
)
SCALE_LARGE = Check(
    "convention_scale_large",
    "Wrong box convention: boxes are cut off at the right or bottom border or lie outside, as "
    "when their numbers are in a larger scale than was thought: pixels read as 0-1000 or as "
    "fractions, 0-1000 read as pixels of a small image.",
    _REMEDY,
    dataset=True,
)
QUADRANT = Check(
    "convention_quadrant",
    "Wrong box convention: all boxes lie in the same quadrant of their images.",
    _REMEDY,
    dataset=True,
)
AXES = Check(
    "convention_axes",
    "Wrong box convention: x and y seem to be exchanged.",
    _REMEDY + " The model seems to answer in the other order of axes ([ymin, xmin, ymax, xmax] "
    "against [x1, y1, x2, y2]).",
    dataset=True,
)
CONVENTION_CHECKS = (FIRST_PIXEL, THOUSAND, SCALE_SMALL, SCALE_LARGE, QUADRANT, AXES)


def convention_findings(placement: Placement, lost: int, limits: Limits) -> Iterator[Finding]:
    """What the boxes' places say of the convention that they were read in.

    With fewer than ``min_boxes`` what is found only warns.

    Args:
        placement: of all records.
        lost: boxes that were dropped as outside while the run read replies, and replies whose
            boxes were all such.
        limits: from the spec.
    """
    lost += placement.outside
    total = placement.boxes + lost
    if total < min(_FEWEST, limits.min_boxes):
        return
    found: list[Finding] = []
    if placement.boxes:
        scale = next(_scale(placement, limits), None)
        found += [scale] if scale else []
        found += _axes(placement)
    outside = lost / total
    if outside > limits.lopsided and lost >= _FEWEST_OUTSIDE:
        detail = f"{outside:.0%} of the boxes lie outside their images."
        found.append(_finding(SCALE_LARGE, detail, outside, limits.lopsided))
    elif placement.boxes:
        found += islice(_cut_off(placement, lost, limits), 1)
    few = total < limits.min_boxes
    yield from (_doubtful(one, total) if few else one for one in found)


def _doubtful(finding: Finding, boxes: int) -> Finding:
    sentence = f"{finding.sentence} There are {boxes} boxes only, so that this may be chance."
    return replace(finding, level=Level.WARN, sentence=sentence)


def _scale(placement: Placement, limits: Limits) -> Iterator[Finding]:
    """Signatures of a scale that is too small, the most telling first."""
    share, enough = limits.wrong_convention, placement.boxes >= limits.min_boxes
    first = placement.first_pixel / placement.boxes
    if first >= share:
        yield _finding(FIRST_PIXEL, f"This holds for {first:.0%} of the boxes.", first, share)
    short = next(_stays_away(placement, limits), None)
    if placement.large >= (limits.min_boxes if enough else 1):
        corner = placement.in_thousand / placement.large
        if corner >= share and (enough or short):
            detail = f"This holds for {corner:.0%} of the boxes in images of 1500 pixels and more."
            yield _finding(THOUSAND, detail, corner, share)
    if short:
        yield short
    for name, count in placement.quadrants.most_common(1):
        if count / placement.boxes >= share and placement.boxes >= _FEWEST:
            detail = f"{count / placement.boxes:.0%} of the boxes are at the {name}."
            yield _finding(QUADRANT, detail, count / placement.boxes, share)


def _stays_away(placement: Placement, limits: Limits) -> Iterator[Finding]:
    """Boxes come near the left or top border but not as near the right or bottom one.

    By how much is an estimate of what is missing of the side; that it is no chance is seen in the
    numbers of those that come nearer to the one border than nearly any does to the other.
    """
    share = limits.wrong_convention
    reach = placement.edges.reach(share)
    found = []
    for side, (begin, end) in reach.items():
        gap = 1 - end
        near, far = placement.edges.beside(side, gap)
        by_records = sign_test(*placement.outermost.beside(side, gap))
        chance = sign_test(near, far)
        if chance < _BY_CHANCE and by_records < _RECORDS_BY_CHANCE:
            detail = (
                f"{share:.0%} of the boxes end within {end:.0%} of the {side}; {near} begin "
                f"nearer to the first border than {far} end to the last one."
            )
            found.append((gap - begin, chance, detail))
    for missing, chance, detail in sorted(found, reverse=True)[:1]:
        certain = missing > limits.lopsided and chance < _FOR_CERTAIN
        level = Level.FAIL if certain else Level.WARN
        if missing > limits.lopsided / 2:
            yield _finding(SCALE_SMALL, detail, missing, limits.lopsided, level)


def _cut_off(placement: Placement, lost: int, limits: Limits) -> Iterator[Finding]:
    """Boxes touch the right or bottom border, or are lost beyond it; not so the others."""
    boxes, touching = placement.boxes, placement.touching
    # Things stand on the ground: more boxes touch the lower border than the upper one anyway.
    right = (touching["right"] - touching["left"]) / boxes
    bottom = (touching["bottom"] - touching["top"]) / boxes / 2
    limit = limits.lopsided + _CHANCE_OF_SHARES / math.sqrt(boxes)
    if max(right, bottom) > limit and boxes >= limits.min_boxes:
        shares = ", ".join(f"{name} border {n / boxes:.0%}" for name, n in touching.items())
        detail = f"Boxes that touch the {shares}."
        yield _finding(SCALE_LARGE, detail, max(right, bottom), limit)
    for side, (left, cut, total) in placement.edges.at_borders().items():
        more = (cut + lost - left) / (total + lost)
        if more > limits.lopsided / 2 and sign_test(cut + lost, left) < _BY_CHANCE:
            detail = (
                f"Over the {side} {cut} boxes touch the right border, {left} the left one, and "
                f"{lost} lie outside."
            )
            yield _finding(SCALE_LARGE, detail, more, limits.lopsided / 2, Level.WARN)


def _axes(placement: Placement) -> Iterator[Finding]:
    words, there, other = placement.side_words, placement.sides, placement.sides_transposed
    better = (other - there) / max(words, 1)
    if better > _SIDE_WORDS_MARGIN and sign_test(other, there) < _RECORDS_BY_CHANCE:
        detail = (
            f"Of {words} expressions that have a side, such as left, or the sky, {there} have "
            f"their box there alone; with x and y exchanged {other} would."
        )
        level = Level.FAIL if words >= _MIN_SIDE_WORDS else Level.WARN
        yield _finding(AXES, detail, better, _SIDE_WORDS_MARGIN, level)
        return
    bounds = placement.shape_slope()
    if bounds and bounds[0] > 1:
        detail = (
            f"The shapes of small boxes follow those of the images with a slope of "
            f"{sum(bounds) / 2:.2f}; objects have one below 1."
        )
        yield _finding(AXES, detail, bounds[0], 1, Level.WARN)


def _finding(
    check: Check, detail: str, value: float, limit: float, level: Level = Level.FAIL
) -> Finding:
    sentence = f"{check.sentence} {detail}"
    return Finding(check.name, level, sentence, check.remedy, round(value, 4), round(limit, 4))
