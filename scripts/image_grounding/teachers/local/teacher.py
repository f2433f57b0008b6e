# SPDX-License-Identifier: Apache-2.0
"""The embedded annotator: no key, no GPU, no network, and a closed vocabulary.

It knows the 80 COCO nouns and a table of synonyms, nothing of attributes, relations or counts.
What it does not know it leaves out. It shows the workflow; it is no teacher for training data.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from image_grounding.boxes.frames import Transport
from image_grounding.boxes.geometry import to_original
from image_grounding.errors import EndpointError
from image_grounding.images.encoding import EncodedImage
from image_grounding.resources import asset_path
from image_grounding.spec.model import Local
from image_grounding.steps.annotations import Expression, Extraction, Grounding, Instance
from image_grounding.teachers.local.detector import Detection, Detector
from image_grounding.teachers.local.vocabulary import clean_caption, find_mentions

_MODEL = "nanodet_g_416_fp16.onnx"


class LocalTeacher:
    """Mentions by vocabulary, boxes by the detector."""

    def __init__(self, settings: Local) -> None:
        self._threshold = settings.score_threshold
        self._detector = Detector(asset_path(_MODEL))
        self._detect = lru_cache(maxsize=64)(self._detect_uncached)

    @property
    def transport(self) -> Transport:
        """The detector looks at 416x416: more than a megapixel is of no use to it."""
        return Transport(max_pixels=1_000_000)

    async def prepare(self, *, grounding: bool) -> None:
        """The model is loaded; there is nothing else to find out."""

    async def explained(self, error: EndpointError) -> EndpointError:
        """``error``: nothing is behind an address here."""
        return error

    async def extract(self, caption: str, image: EncodedImage) -> Extraction:
        """Step 0: lead-ins off, mentions of known things with their modifiers."""
        cleaned = clean_caption(caption)
        return Extraction(
            cleaned,
            tuple(
                Expression(cleaned[found.start : found.end], found.noun, (found.start, found.end))
                for found in find_mentions(cleaned)
            ),
        )

    async def ground(self, expressions: Sequence[Expression], image: EncodedImage) -> Grounding:
        """Step 1: every box of the class that an expression's noun names.

        An expression without a known noun (step 0 by another annotator) has no boxes.
        """
        detections = await asyncio.to_thread(self._detect, image.data)
        dropped: Counter[str] = Counter()
        return Grounding(
            tuple(
                tuple(
                    Instance(box, round(found.score, 4))
                    for found in detections
                    if found.coco_class == _class_of(expression)
                    and (box := to_original(found.box, "norm1_xyxy", image.frame, dropped))
                )
                for expression in expressions
            ),
            dict(dropped),
        )

    def _detect_uncached(self, data: bytes) -> tuple[Detection, ...]:
        return tuple(self._detector.detect(data, self._threshold))

    def provenance(self) -> dict[str, Any]:
        """The detector's name and threshold."""
        return {
            "backend": "local",
            "model": "nanodet_g_416",
            "prompt_version": None,
            "convention": None,
            "score_threshold": self._threshold,
        }

    def facts(self) -> dict[str, Any]:
        """The same as ``provenance``."""
        return self.provenance()

    async def close(self) -> None:
        """Nothing to let go of."""


def _class_of(expression: Expression) -> str | None:
    """The class of the first known thing that an expression names: its head noun."""
    mention = next(find_mentions(expression.text), None)
    return mention.coco_class if mention else None
