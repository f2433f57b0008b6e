# SPDX-License-Identifier: Apache-2.0
"""Checks of the image file of a record, by its header."""

from collections.abc import Iterator

from image_grounding.inspection.checks.registry import RECORD, Hit, Subject

_MAX_ASPECT = 3.0


@RECORD.add(
    "The image file cannot be opened here.",
    "Give --image-root where the images moved; a trainer will miss them too.",
)
def image_unreadable(subject: Subject) -> Iterator[Hit]:
    """Records whose image is missing or broken."""
    if subject.header is None:
        yield Hit(subject.record.image_path[-60:])


@RECORD.add(
    "The image has another size than the record says.",
    "The boxes are in the frame of another picture: annotate the images as they are now.",
    weight=5,
)
def size_mismatch(subject: Subject) -> Iterator[Hit]:
    """Records whose width and height differ from the upright image."""
    size = subject.record.size
    if subject.header and subject.header.size != size:
        width, height = subject.header.size
        yield Hit(f"{width}x{height}, record {size[0]}x{size[1]}")


@RECORD.add(
    "The file is stored turned, and EXIF says how to turn it upright.",
    "The boxes are in the upright picture. Use a trainer that applies EXIF, or store the images "
    "upright.",
    weight=0,
)
def exif_rotated(subject: Subject) -> Iterator[Hit]:
    """Files with an EXIF orientation other than upright."""
    if subject.header and subject.header.orientation > 1:
        yield Hit(f"orientation {subject.header.orientation}")


@RECORD.add(
    "The picture is very wide or very high.",
    "Models shrink it until small things vanish: cut it up, or raise vlm.image.max_pixels.",
    weight=0,
)
def extreme_aspect(subject: Subject) -> Iterator[Hit]:
    """Images whose longer side is many times the shorter one."""
    short, long = sorted(subject.record.size)
    if long > _MAX_ASPECT * short:
        yield Hit("{}x{}".format(*subject.record.size))
