# SPDX-License-Identifier: Apache-2.0
"""What a run is likely to ask and to cost: rules of thumb, no tokenizer.

Text: a token for every 4 bytes of UTF-8. Expressions of a caption that step 0 has not seen yet:
one for every 24 bytes. Replies: step 0 repeats the caption and takes 24 tokens for each
expression; step 1 takes 40. Retries, thinking and the measuring of the box convention come on
top.

Images, where the rule is public: Qwen-VL and its kin take one token for each patch of 28 or 32
pixels squared of the image as sent; Gemini 3 and later take at most 280, 560 or 1120 tokens by
``media_resolution`` (https://ai.google.dev/gemini-api/docs/media-resolution).
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from image_grounding.boxes.frames import Size, Transport, fit_size
from image_grounding.families.families import family_of
from image_grounding.input.samples import Sample
from image_grounding.spec import Vlm
from image_grounding.steps.annotations import Extraction
from image_grounding.steps.prompts import extraction_prompt, grounding_prompt
from image_grounding.steps.steps import EXTRACTION, GROUNDING

_BYTES_PER_TOKEN = 4
_BYTES_PER_EXPRESSION = 24
_EXTRACTED_TOKENS = 24
_GROUNDED_TOKENS = 40
_EXPRESSION_IN_PROMPT = '{"id": 0, "text": ""}, '
_GEMINI_IMAGE_TOKENS = {
    "MEDIA_RESOLUTION_LOW": 280,
    "MEDIA_RESOLUTION_MEDIUM": 560,
    "MEDIA_RESOLUTION_HIGH": 1120,
    "MEDIA_RESOLUTION_UNSPECIFIED": 1120,
}


@dataclass
class Estimate:
    """Requests and tokens, added up sample by sample.

    Attributes:
        vlm: the model and its settings.
        transport: the size that it is sent images at.
        requests: how many at most, by step number.
        text_tokens: of the prompts.
        image_tokens: None where nobody knows what an image takes.
        output_tokens: of the replies.
    """

    vlm: Vlm
    transport: Transport
    requests: Counter[str] = field(default_factory=Counter)
    text_tokens: int = 0
    image_tokens: int | None = 0
    output_tokens: int = 0

    def add_extraction(self, sample: Sample, size: Size) -> None:
        """Count step 0 of a sample with an image of ``size`` (width, height) in pixels."""
        image = size if self.vlm.image.step_0 is True else None
        written = _tokens(sample.caption) + _EXTRACTED_TOKENS * _expressions_in(sample.caption)
        self._add(EXTRACTION.number, _tokens(extraction_prompt(sample.caption)), image, written)

    def add_grounding(self, sample: Sample, size: Size, extraction: Extraction | None) -> None:
        """Count step 1; ``extraction`` is None where step 0 is still to come."""
        family = family_of(self.vlm.model)
        if extraction is None:
            count = _expressions_in(sample.caption)
            listed = _tokens(sample.caption) + count * _tokens(_EXPRESSION_IN_PROMPT)
            text = _tokens(grounding_prompt((), family)) + listed
        else:
            texts = [one.text for one in extraction.expressions]
            count = len(texts)
            text = _tokens(grounding_prompt(texts, family))
        if count:  # without an expression nothing is asked
            self._add(GROUNDING.number, text, size, _GROUNDED_TOKENS * count)

    def _add(self, step: str, text: int, image: Size | None, written: int) -> None:
        self.requests[step] += 1
        self.text_tokens += text
        self.output_tokens += written
        if image and self.image_tokens is not None:
            tokens = self._tokens_of_image(image)
            self.image_tokens = None if tokens is None else self.image_tokens + tokens

    def _tokens_of_image(self, size: Size) -> int | None:
        if re.search(r"gemini-([3-9]|\d\d)", self.vlm.model.lower()):
            return _GEMINI_IMAGE_TOKENS.get(self.vlm.gemini.media_resolution)
        if self.transport.multiple == 1:
            return None
        width, height = fit_size(size, self.transport)
        return width * height // self.transport.multiple**2

    def plain(self) -> dict[str, Any]:
        """For the report; sums with an unknown part are None."""
        prices = self.vlm.prices
        sent = None if self.image_tokens is None else self.text_tokens + self.image_tokens
        cost = None
        if sent is not None and prices.input is not None and prices.output is not None:
            cost = round((sent * prices.input + self.output_tokens * prices.output) / 1e6, 6)
        return {
            "requests": self.requests.total(),
            "requests_by_step": dict(self.requests),
            "input_tokens": sent,
            "text_tokens": self.text_tokens,
            "image_tokens": self.image_tokens,
            "output_tokens": self.output_tokens,
            "cost": cost,
        }


def _tokens(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def _expressions_in(caption: str) -> int:
    return max(1, round(len(caption.encode("utf-8", "replace")) / _BYTES_PER_EXPRESSION))
