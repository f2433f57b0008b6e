# SPDX-License-Identifier: Apache-2.0
"""Image tokens, where the rule is public.

Qwen-VL and its kin take one token for each patch of 28 or 32 pixels squared of the image as
sent; Gemini 3 and later take at most 280, 560 or 1120 tokens by ``media_resolution``
(https://ai.google.dev/gemini-api/docs/media-resolution).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from image_grounding.boxes.frames import Size, Transport, fit_size

LOW_RESOLUTION = "MEDIA_RESOLUTION_LOW"
GEMINI_IMAGE_TOKENS: Mapping[str, int] = MappingProxyType(
    {
        LOW_RESOLUTION: 280,
        "MEDIA_RESOLUTION_MEDIUM": 560,
        "MEDIA_RESOLUTION_HIGH": 1120,
        "MEDIA_RESOLUTION_UNSPECIFIED": 1120,
    }
)


def image_tokens(size: Size, transport: Transport, model: str, media_resolution: str) -> int | None:
    """Tokens of an image of ``size`` (width, height) in pixels; None where nobody knows.

    Args:
        size: of the upright original.
        transport: how it is sent.
        model: the model's name.
        media_resolution: Gemini's level.
    """
    if re.search(r"gemini-([3-9]|\d\d)", model.lower()):
        return GEMINI_IMAGE_TOKENS.get(media_resolution)
    if transport.multiple == 1:
        return None
    width, height = fit_size(size, transport)
    return width * height // transport.multiple**2
