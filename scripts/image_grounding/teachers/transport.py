# SPDX-License-Identifier: Apache-2.0
"""At what size images are sent, for a model family, a convention and the spec's settings."""

from dataclasses import replace

from image_grounding.boxes.frames import PIXEL_CONVENTIONS, Transport, server_max_pixels
from image_grounding.families.families import Family
from image_grounding.spec import Vlm

# Image tokens that Gemini 3 spends at most at each level (ai.google.dev, "Media resolution");
# what a token can hold is not published: 32 x 32 pixels, as with other models of the time.
_GEMINI_TOKENS = {
    "MEDIA_RESOLUTION_LOW": 280,
    "MEDIA_RESOLUTION_MEDIUM": 560,
    "MEDIA_RESOLUTION_HIGH": 1120,
    "MEDIA_RESOLUTION_UNSPECIFIED": 1120,
}
_PIXELS_A_TOKEN = 32 * 32


def transport_for(family: Family, convention: str, vlm: Vlm) -> Transport:
    """The transport of a run.

    Where a model answers in pixels, both sides are multiples of a patch, and there are no more
    of them than a server leaves alone: then one that resizes images before the model sees them
    ("smart resize") changes nothing. ``vlm.image.max_pixels`` has the last word; what a server
    does to larger images is then told by the measurement.
    """
    transport = family.transport
    if vlm.backend == "gemini":
        tokens = _GEMINI_TOKENS[vlm.gemini.media_resolution]
        transport = replace(transport, max_pixels=tokens * _PIXELS_A_TOKEN)
    if convention in PIXEL_CONVENTIONS:
        step = transport.resize_multiple
        most = min(transport.max_pixels, server_max_pixels(step))
        least = max(transport.min_pixels, 4 * step**2)
        transport = replace(transport, multiple=step, min_pixels=least, max_pixels=most)
    if limit := vlm.image.max_pixels:
        grown = max(limit / transport.max_pixels, 1)
        most = round(transport.max_bytes * grown)
        transport = replace(transport, max_pixels=limit, max_bytes=most)
    return transport
