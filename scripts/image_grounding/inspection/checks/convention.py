# SPDX-License-Identifier: Apache-2.0
"""Signatures of a wrong box convention over many records.

Boxes read in a wrong convention still look like boxes; only the places of all of them together
reveal it. Each signature follows from one mistake, by the arithmetic of ``frames.py``:

* fractions read as pixels or as 0-1000: everything in the first pixel;
* 0-1000 read as pixels of a large photo: everything in its first 1000x1000 pixels;
* numbers in a smaller scale than assumed: boxes begin at the left and top borders but never
  reach the right and bottom ones;
* numbers in a larger scale: boxes are cut at the right and bottom borders, or fall outside;
* x and y exchanged: "on the left" is at the top; box shapes follow the images' shapes doubly;
  boxes fit the edges in their pictures only when exchanged back.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

from image_grounding.boxes.frames import PIXEL_CONVENTIONS
from image_grounding.inspection.checks.edges import EdgeVotes, PictureSample
from image_grounding.inspection.checks.placement import Placement
from image_grounding.inspection.model import Check, Finding, Level
from image_grounding.inspection.wilson import Z95
from image_grounding.spec import Limits

_MIN_SIDE_WORDS = 20
# So many boxes can show a signature; fewer than ``min_boxes`` cannot prove it.
_FEWEST_BOXES = 10
_FEW_BOXES_NOTE = " Few boxes speak for it: look at the pictures."
# Share and number of boxes that may pass the border of their images.
_CLIPPED_SHARE = 0.05
_CLIPPED = 2
# Allowance for chance, to be divided by the root of the number of boxes: about three standard
# errors of a quantile near the border, and of the difference of two shares of boxes.
_CHANCE_OF_QUANTILE = 0.5
_CHANCE_OF_SHARES = 1.5
_SIDE_WORDS_MARGIN = 0.25  # of the expressions that say a side
_Z_PROOF = 3.29  # quantile for 99.9 %, two-sided
_REMEDY = (
    "Do not scale. Set vlm.coordinates to auto, which measures the convention, and run again with "
    "workflow.reread=true."
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
# Things may lie in such places by nature.
_BY_PLACE = frozenset({SCALE_SMALL.name, QUADRANT.name})
CONVENTION_CHECKS = (FIRST_PIXEL, THOUSAND, SCALE_SMALL, SCALE_LARGE, QUADRANT, AXES)


def convention_findings(
    placement: Placement, pictures: PictureSample, dropped: int, clipped: int, limits: Limits
) -> Iterator[Finding]:
    """Signatures of a wrong convention: at most one about the scale and one about the axes.

    Args:
        placement: of all records.
        pictures: pictures to compare boxes with.
        dropped: boxes that the run dropped as outside, and replies with only such boxes.
        clipped: boxes that passed the borders of their images and were clipped there.
        limits: from the spec.
    """
    dropped += placement.outside
    total = placement.boxes + dropped
    least = min(limits.min_boxes, _FEWEST_BOXES)
    if total < least:
        return
    scale = _scale(placement, dropped, clipped, least, limits)
    edges = pictures.compare()
    if not scale and edges.bounds(_Z_PROOF)[0] > 0.5:
        yield _axes_on_pictures(edges)  # few boxes prove it: chance has been allowed for
        return
    axes = _axes(placement, edges) if placement.boxes >= least else None
    for finding in filter(None, (scale, axes)):
        if total < limits.min_boxes:
            yield replace(finding, level=Level.WARN, sentence=finding.sentence + _FEW_BOXES_NOTE)
        else:
            yield finding


def as_measured(finding: Finding, convention: str, iou: float) -> Finding:
    """A finding about boxes whose convention was measured well: measuring again mends nothing.

    Args:
        finding: of ``convention_findings``.
        convention: the measured one.
        iou: mean IoU of the boxes on drawn pictures.
    """
    if finding.check not in _BY_PLACE or finding.value is None:
        return finding
    enough = min(math.ceil(100 * finding.value + 1) / 100, 1)
    takes = f", and --threshold lopsided={enough:g} takes it so"
    remedy = (
        f"The convention was measured: {convention}, mean IoU {iou:.2f} on drawn pictures. Look at "
        "the pictures: if the boxes fit, things do lie there"
        f"{takes if finding.check == SCALE_SMALL.name else ''}. If they do not, the server may "
        "shrink large images: set vlm.image.max_pixels lower, and ask again with "
        "workflow.force_reprocess=true."
    )
    # Where numbers do not depend on an image's size, they can hardly mean something else in it.
    sure = convention not in PIXEL_CONVENTIONS
    return replace(finding, remedy=remedy, level=Level.WARN if sure else finding.level)


def _scale(
    placement: Placement, dropped: int, clipped: int, least: int, limits: Limits
) -> Finding | None:
    """The signature of a wrong scale. Where images of two sizes show two, the surest counts."""
    large = _too_large(placement, dropped, clipped, least, limits)
    small = next(_too_small(placement, least, limits), None) if placement.boxes >= least else None
    if small and large:
        return small if small.check in (FIRST_PIXEL.name, THOUSAND.name) else large
    return small or large


def _too_large(
    placement: Placement, dropped: int, clipped: int, least: int, limits: Limits
) -> Finding | None:
    outside = dropped / (placement.boxes + dropped)
    beyond = clipped / max(placement.boxes, 1)
    if outside > limits.lopsided:
        detail = f"{outside:.0%} of the boxes lie outside their images."
        return _finding(SCALE_LARGE, detail, outside, limits.lopsided)
    if clipped > _CLIPPED and beyond > _CLIPPED_SHARE:
        detail = f"{beyond:.0%} of the boxes passed the borders of their images."
        return _finding(SCALE_LARGE, detail, beyond, _CLIPPED_SHARE)
    return _cut_off(placement, limits) if placement.boxes >= least else None


def _too_small(placement: Placement, least: int, limits: Limits) -> Iterator[Finding]:
    """Signatures of a scale that is too small, the most specific first."""
    share = limits.wrong_convention
    first = placement.first_pixel / placement.boxes
    if first >= share:
        yield _finding(FIRST_PIXEL, f"This holds for {first:.0%} of the boxes.", first, share)
    if placement.large >= least:
        corner = placement.in_thousand / placement.large
        if corner >= share:
            detail = f"This holds for {corner:.0%} of the boxes in images of 1500 pixels and more."
            yield _finding(THOUSAND, detail, corner, share)
    reach = placement.reach(share)
    limit = limits.lopsided + _CHANCE_OF_QUANTILE / math.sqrt(placement.boxes)
    short = max((1 - end) - begin for begin, end in reach.values())
    if short > limit:
        ends = " and ".join(f"{end:.0%} of the {side} side" for side, (_, end) in reach.items())
        yield _finding(SCALE_SMALL, f"{share:.0%} of the boxes end within {ends}.", short, limit)
    for name, count in placement.quadrants.most_common(1):
        if count / placement.boxes >= share:
            detail = f"{count / placement.boxes:.0%} of the boxes are at the {name}."
            yield _finding(QUADRANT, detail, count / placement.boxes, share)


def _cut_off(placement: Placement, limits: Limits) -> Finding | None:
    touching = {name: count / placement.boxes for name, count in placement.touching.items()}
    right = touching.get("right", 0) - touching.get("left", 0)
    # Things stand on the ground: more boxes touch the lower border than the upper one.
    bottom = (touching.get("bottom", 0) - touching.get("top", 0)) / 2
    limit = limits.lopsided + _CHANCE_OF_SHARES / math.sqrt(placement.boxes)
    if max(right, bottom) <= limit:
        return None
    detail = ", ".join(f"{name} border {share:.0%}" for name, share in touching.items())
    return _finding(SCALE_LARGE, f"Boxes that touch the {detail}.", max(right, bottom), limit)


def _axes_on_pictures(edges: EdgeVotes) -> Finding:
    compared = edges.as_read + edges.exchanged
    detail = (
        f"Of {compared} boxes that were compared with their pictures, {edges.exchanged} fit the "
        "edges of things better with x and y exchanged."
    )
    return _finding(AXES, detail, edges.exchanged / compared, 0.5)


def _axes(placement: Placement, edges: EdgeVotes) -> Finding | None:
    """Exchanged axes by words for sides, or by shapes as far as the pictures do not refute it."""
    words = placement.side_words
    if words >= _MIN_SIDE_WORDS:
        better = (placement.sides_transposed - placement.sides) / words
        if better > _SIDE_WORDS_MARGIN:
            detail = (
                f"Of {words} expressions that say left, right, top or bottom, {placement.sides} "
                f"have their box there; with x and y exchanged {placement.sides_transposed} would."
            )
            return _finding(AXES, detail, better, _SIDE_WORDS_MARGIN)
    slope = placement.shape_slope()
    least_exchanged, most_exchanged = edges.bounds(Z95)
    if slope is None or slope[0] <= 1 or most_exchanged < 0.5:
        return None
    detail = (
        f"The shapes of small boxes follow those of the images with a slope of "
        f"{sum(slope) / 2:.2f}; objects have one below 1."
    )
    # Portraits of people and wide views of cars have such shapes too.
    level = Level.FAIL if least_exchanged > 0.5 else Level.WARN
    return _finding(AXES, detail, slope[0], 1, level)


def _finding(
    check: Check, detail: str, value: float, limit: float, level: Level = Level.FAIL
) -> Finding:
    sentence = f"{check.sentence} {detail}"
    return Finding(check.name, level, sentence, check.remedy, round(value, 4), round(limit, 4))
