# SPDX-License-Identifier: Apache-2.0
"""Model replies to typed results. The readers take any text and never raise."""

from image_grounding.replies.extraction import (
    ExtractionReply,
    RawExpression,
    read_extraction,
    read_extractions,
)
from image_grounding.replies.grounding import GroundingReply, RawInstance, read_grounding
from image_grounding.replies.text import ReplyStatus

__all__ = [
    "ExtractionReply",
    "GroundingReply",
    "RawExpression",
    "RawInstance",
    "ReplyStatus",
    "read_extraction",
    "read_extractions",
    "read_grounding",
]
