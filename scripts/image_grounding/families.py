# SPDX-License-Identifier: Apache-2.0
"""What is known of model families: how they write boxes, what image size they use.

A profile is chosen by the model's name and only decides how a model is asked and what is
expected of it; what an endpoint really answers in is measured.
"""

import re
from dataclasses import dataclass

from image_grounding.frames import CONVENTIONS, Transport

_PATCH28 = Transport(max_pixels=1280 * 28 * 28, multiple=28, min_pixels=4 * 28 * 28)
_PATCH32 = Transport(max_pixels=1024 * 32 * 32, multiple=32, min_pixels=4 * 32 * 32)
_ANY_SIZE = Transport(max_pixels=1280 * 28 * 28)


@dataclass(frozen=True)
class Family:
    """A model family.

    Attributes:
        name: what people call it.
        convention: what its models are known to write boxes in.
        box_key: the JSON key that it was trained to put a box under.
        transport: the image size that it makes use of.
    """

    name: str
    convention: str
    box_key: str = "bbox_2d"
    transport: Transport = _ANY_SIZE

    @property
    def wording(self) -> str:
        """How a prompt asks for a box."""
        convention = CONVENTIONS[self.convention]
        return f"{convention.order}, {convention.wording}"


UNKNOWN = Family("unknown", "norm1000_xyxy")

# The first pattern found in the lower-case model name wins.
_FAMILIES: tuple[tuple[str, Family], ...] = (
    (r"gemini|gemma-?[34]", Family("Gemini", "norm1000_yxyx", "box_2d")),
    (
        r"qwen[-_]?2[._]5[-_]?vl|cosmos[-_]reason1",
        Family("Qwen2.5-VL", "pixel_resized", transport=_PATCH28),
    ),
    (r"qwen[-_]?2[-_]?vl", Family("Qwen2-VL", "norm1000_xyxy", transport=_PATCH28)),
    (
        r"qwen[-_]?([3-9]|\d\d)|cosmos[-_]reason[2-9]",
        Family("Qwen3-VL and later", "norm1000_xyxy", transport=_PATCH32),
    ),
    (r"intern[-_]?vl|glm[-_]?[4-9].*v|paligemma", Family("InternVL, GLM-V", "norm1000_xyxy")),
)


def family_of(model: str) -> Family:
    """The family that a model's name tells, or ``UNKNOWN``."""
    name = model.lower()
    return next((family for pattern, family in _FAMILIES if re.search(pattern, name)), UNKNOWN)
