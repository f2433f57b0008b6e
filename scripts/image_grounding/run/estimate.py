# SPDX-License-Identifier: Apache-2.0
"""What a run is likely to ask and to cost, added up from what each step says of itself.

Retries, thinking and the measuring of the box convention come on top; see ``steps.tokens`` and
``families.image_tokens`` for the rules.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from image_grounding.asking.meter import cost_of
from image_grounding.boxes.frames import Size
from image_grounding.families.image_tokens import LOW_RESOLUTION, image_tokens
from image_grounding.spec import Vlm
from image_grounding.steps.step import Cost
from image_grounding.steps.table import AnyStep

# What a provider's batch queue takes of the price: half, at OpenAI and at Google.
BATCH_DISCOUNT = 0.5

_UNKNOWN_IMAGES = (
    "what a picture takes of {} is not known here: check_endpoint.py --samples N measures it and "
    "estimates tokens and cost"
)


@dataclass
class Estimate:
    """Requests and tokens, added up sample by sample.

    Attributes:
        vlm: the model and its settings.
        discount: what tokens cost, as a share of the prices.
        requests: how many at most, by step number.
        text_tokens: of the prompts.
        image_tokens: None where nobody knows what an image takes.
        output_tokens: of the replies.
    """

    vlm: Vlm
    discount: float = 1.0
    requests: Counter[str] = field(default_factory=Counter)
    text_tokens: int = 0
    image_tokens: int | None = 0
    output_tokens: int = 0

    def add(self, step: AnyStep, cost: Cost, size: Size) -> None:
        """Count a step of a sample with an image of ``size`` (width, height) in pixels."""
        self.requests[step.number] += cost.requests
        self.text_tokens += cost.text_tokens
        self.output_tokens += cost.output_tokens
        if cost.picture and self.image_tokens is not None:
            level = LOW_RESOLUTION if cost.low_detail else self.vlm.gemini.media_resolution
            tokens = image_tokens(size, cost.picture, self.vlm.model, level)
            self.image_tokens = None if tokens is None else self.image_tokens + tokens

    def plain(self) -> dict[str, Any]:
        """For the report; sums with an unknown part are None."""
        prices = self.vlm.prices
        sent = None if self.image_tokens is None else self.text_tokens + self.image_tokens
        cost = None
        if sent is not None:
            cost = cost_of(sent, self.output_tokens, prices.input, prices.output)
            cost = None if cost is None else round(cost * self.discount, 6)
        return {
            "requests": self.requests.total(),
            "requests_by_step": dict(self.requests),
            "input_tokens": sent,
            "text_tokens": self.text_tokens,
            "image_tokens": self.image_tokens,
            "output_tokens": self.output_tokens,
            "cost": cost,
            # Why a sum is unknown, and what tells it; None where nothing is.
            "note": _UNKNOWN_IMAGES.format(self.vlm.model) if sent is None else None,
        }
