# SPDX-License-Identifier: Apache-2.0
"""Checks of a record's boxes; silent before step 1."""

from collections import defaultdict
from collections.abc import Iterator

from image_grounding.boxes.frames import Size
from image_grounding.boxes.geometry import PixelBox, box_iou
from image_grounding.inspection.checks.registry import RECORD, Hit, Subject
from image_grounding.inspection.checks.words import is_stuff

# Both sides of a tiny box are below the larger of: pixels, and share of the longer image side.
_TINY_PIXELS = 8
_TINY_SHARE = 0.01
_WHOLE = 0.98  # of each side of the image
_THIN = 15  # times as long as wide
_DUPLICATE_IOU = 0.8
_NEAR = 100  # a box is compared with so many to its left, so that a crowd stays cheap
_STRIP = 0.03  # of the side of the image


@RECORD.add(
    "A box lies outside its image or has no area.",
    "The boxes are in another frame than the image: check the convention, and whether the image "
    "was resized since.",
    weight=5,
    after_grounding=True,
)
def impossible_box(subject: Subject) -> Iterator[Hit]:
    """Boxes that the contract forbids; only records of other tools have them."""
    for number, index, box in subject.boxes():
        if not _possible(box, subject.record.size):
            yield Hit(f"{list(box)}", number, (index,))


@RECORD.add(
    "The model looked for this expression and saw nothing.",
    "Look whether it is in the picture. If it is: a stronger model or a higher resolution. If it "
    "is not: the caption is wrong, or the expression names nothing that can be seen.",
    after_grounding=True,
)
def ungrounded_expression(subject: Subject) -> Iterator[Hit]:
    """Expressions without a box."""
    for number, expression in enumerate(subject.record.expressions):
        if not expression.instances:
            yield Hit(f'"{_short(expression.text)}"', number)


@RECORD.add(
    "A box covers nearly the whole image.",
    "Fine for a close-up; otherwise the model gave up on a place: a stronger model.",
    weight=2,
    after_grounding=True,
)
def whole_image_box(subject: Subject) -> Iterator[Hit]:
    """Boxes as wide and as high as the image, except of scenes and unbounded things."""
    for number, index, box in subject.boxes():
        scene = is_stuff(subject.record.expressions[number].text)
        if _is_whole(box, subject.record.size) and not scene:
            yield Hit(_share(box, subject.record.size), number, (index,))


@RECORD.add(
    "A box is so small that a trainer will hardly see it.",
    "If it is right, drop it or train at a higher resolution. If many are tiny, the convention is "
    "wrong or the images are sent too small (vlm.image.max_pixels).",
    weight=2,
    after_grounding=True,
)
def tiny_box(subject: Subject) -> Iterator[Hit]:
    """Boxes of a few pixels."""
    limit = max(_TINY_PIXELS, _TINY_SHARE * max(subject.record.size))
    for number, index, (x1, y1, x2, y2) in subject.boxes():
        if max(x2 - x1, y2 - y1) < limit:
            yield Hit(f"{x2 - x1}x{y2 - y1} px", number, (index,))


@RECORD.add(
    "A box is very thin.",
    "Right for a pole or a rope; otherwise corners are mixed up: check the convention.",
    weight=2,
    after_grounding=True,
)
def thin_box(subject: Subject) -> Iterator[Hit]:
    """Boxes many times as long as wide, except of floors and skies."""
    for number, index, (x1, y1, x2, y2) in subject.boxes():
        short, long = sorted((x2 - x1, y2 - y1))
        if long > _THIN * short and not is_stuff(subject.record.expressions[number].text):
            yield Hit(f"{x2 - x1}x{y2 - y1} px", number, (index,))


@RECORD.add(
    "Different expressions have the very same box.",
    'Right where both name one thing ("a man", "the player"); otherwise one was not told from the '
    "other: a stronger model, or fewer expressions a caption.",
    weight=2,
    after_grounding=True,
)
def shared_box(subject: Subject) -> Iterator[Hit]:
    """Equal boxes of expressions with different texts."""
    owners: defaultdict[PixelBox, list[tuple[int, int]]] = defaultdict(list)
    for number, index, box in subject.boxes():
        owners[box].append((number, index))
    texts = [expression.text.casefold() for expression in subject.record.expressions]
    for places in owners.values():
        if len({texts[number] for number, _ in places}) > 1:
            for number, index in places:
                others = len({other for other, _ in places} - {number})
                yield Hit(f"shared with {others} more", number, (index,))


@RECORD.add(
    "Boxes of one expression lie on top of each other.",
    "One object was boxed twice. Export removes none: drop them by score, or lower the "
    "temperature.",
    weight=2,
    after_grounding=True,
)
def duplicate_boxes(subject: Subject) -> Iterator[Hit]:
    """Boxes of an expression with a high IoU."""
    for number, expression in enumerate(subject.record.expressions):
        boxes = [instance.bbox for instance in expression.instances]
        doubled = tuple(_duplicates(boxes))
        if doubled:
            yield Hit(f"{len(doubled)} of {len(boxes)} boxes", number, doubled)


@RECORD.add(
    "A box is a sliver at the border of the image.",
    "Right for what the picture hardly shows. If there are many, boxes were clipped: their numbers "
    "are in a larger scale than was thought.",
    after_grounding=True,
)
def border_box(subject: Subject) -> Iterator[Hit]:
    """Boxes in a narrow strip along a border that they touch, except of floors and skies."""
    width, height = subject.record.size
    for number, index, (x1, y1, x2, y2) in subject.boxes():
        sliver = (
            (x1 <= 0 and x2 <= _STRIP * width)
            or (y1 <= 0 and y2 <= _STRIP * height)
            or (x2 >= width and x1 >= (1 - _STRIP) * width)
            or (y2 >= height and y1 >= (1 - _STRIP) * height)
        )
        if sliver and not is_stuff(subject.record.expressions[number].text):
            yield Hit(f"{x2 - x1}x{y2 - y1} px", number, (index,))


def _possible(box: PixelBox, size: Size) -> bool:
    x1, y1, x2, y2 = box
    return 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]


def _is_whole(box: PixelBox, size: Size) -> bool:
    x1, y1, x2, y2 = box
    return x2 - x1 >= _WHOLE * size[0] > 0 and y2 - y1 >= _WHOLE * size[1] > 0


def _share(box: PixelBox, size: Size) -> str:
    x1, y1, x2, y2 = box
    return f"{(x2 - x1) * (y2 - y1) / (size[0] * size[1]):.0%} of the image"


def _duplicates(boxes: list[PixelBox]) -> Iterator[int]:
    """Indices of boxes that overlap an earlier box, in the order of their left sides."""
    kept: list[PixelBox] = []
    for index in sorted(range(len(boxes)), key=lambda index: boxes[index][0]):
        if any(box_iou(boxes[index], other) >= _DUPLICATE_IOU for other in kept[-_NEAR:]):
            yield index
        else:
            kept.append(boxes[index])


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
