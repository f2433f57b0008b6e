# SPDX-License-Identifier: Apache-2.0
"""At what size images are sent, for a model family, a convention and the spec's settings."""

from dataclasses import replace

from image_grounding.boxes.frames import PIXEL_CONVENTIONS, Transport, server_max_pixels
from image_grounding.families.families import Family
from image_grounding.families.image_tokens import GEMINI_IMAGE_TOKENS
from image_grounding.spec import Vlm

# What a token of Gemini can hold is not published: 32 x 32 pixels, as with other models.
_PIXELS_A_TOKEN = 32 * 32
# Enough to tell what is in a picture.
_OVERVIEW_PIXELS = 512 * 512
_OVERVIEW_BYTES = 120_000


def transport_for(family: Family, convention: str, vlm: Vlm) -> Transport:
    """The transport of a run.

    Where a model answers in pixels, both sides are multiples of a patch, and there are no more
    of them than a server leaves alone: then one that resizes images before the model sees them
    ("smart resize") changes nothing. ``vlm.image.max_pixels`` has the last word; what a server
    does to larger images then shows in the measurement.
    """
    transport = family.transport
    if vlm.backend == "gemini":
        tokens = GEMINI_IMAGE_TOKENS[vlm.gemini.media_resolution]
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


def overview_for(transport: Transport, vlm: Vlm) -> Transport | None:
    """The transport of pictures for a look at the whole, in step 0; None where it has none."""
    if not vlm.image.step_0:
        return None
    most = vlm.image.step_0_max_pixels or min(_OVERVIEW_PIXELS, transport.max_pixels)
    least = min(transport.min_pixels, most)
    return replace(transport, max_pixels=most, min_pixels=least, max_bytes=_OVERVIEW_BYTES)
