# SPDX-License-Identifier: Apache-2.0
"""The embedded annotator: no key, no GPU, no network, and a closed vocabulary.

It knows the 80 COCO nouns and a table of synonyms, nothing of attributes, relations or counts.
What it does not know it leaves out. It shows the workflow; it is no teacher for training data.
It answers the steps' questions in JSON, as a model would, so that all else is the same.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from image_grounding.errors import EndpointError
from image_grounding.files import to_json
from image_grounding.images.store import ImageStore
from image_grounding.resources import asset_path
from image_grounding.spec.capabilities import capabilities_of
from image_grounding.spec.model import Local
from image_grounding.steps.profile import PLAIN, Profile
from image_grounding.steps.question import Question, Reply
from image_grounding.teachers.base import Traffic
from image_grounding.teachers.local.detector import Detection, Detector
from image_grounding.teachers.local.vocabulary import clean_caption, find_mentions

_MODEL = "nanodet_g_416_fp16.onnx"


class LocalTeacher:
    """Mentions by vocabulary, boxes by the detector."""

    def __init__(self, settings: Local) -> None:
        self.capabilities = capabilities_of("local")
        self.images = ImageStore()
        self._threshold = settings.score_threshold
        self._detector = Detector(asset_path(_MODEL))
        self._detect = lru_cache(maxsize=64)(self._detect_uncached)

    @property
    def profile(self) -> Profile:
        """See ``Teacher.profile``: its prompts are read by nobody, boxes are fractions."""
        return PLAIN

    async def carry(self, question: Question) -> Reply:
        """The answer to what a question is about; see ``Question.subject``."""
        if "caption" in question.subject:
            return Reply(to_json(_extraction(question.subject["caption"])))
        assert question.picture
        image = await self.images.load(question.picture.source, question.picture.transport)
        detections = await asyncio.to_thread(self._detect, image.data)
        return Reply(to_json(_grounding(question.subject["expressions"], detections)))

    async def prepare(self, *, boxes: bool) -> None:
        """The model is loaded; there is nothing else to find out."""

    async def recheck(self) -> bool:
        """It does not change."""
        return True

    async def diagnose(self, error: EndpointError) -> EndpointError:
        """``error``: nothing is behind an address here."""
        return error

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

    def traffic(self) -> Traffic:
        """Nothing travels."""
        return Traffic()

    def usage(self) -> None:
        """Nothing is counted."""

    async def close(self) -> None:
        """Let the pictures go."""
        self.images.close()

    def _detect_uncached(self, data: bytes) -> tuple[Detection, ...]:
        return tuple(self._detector.detect(data, self._threshold))


def _extraction(caption: str) -> Mapping[str, Any]:
    """Lead-ins off, mentions of known things with their modifiers."""
    cleaned = clean_caption(caption)
    return {
        "cleaned_caption": cleaned,
        "expressions": [
            {
                "text": cleaned[found.start : found.end],
                "noun_chunk": found.noun,
                "char_span": [found.start, found.end],
            }
            for found in find_mentions(cleaned)
        ],
    }


def _grounding(texts: Sequence[str], detections: Sequence[Detection]) -> Mapping[str, Any]:
    """Every box of the class that an expression's noun names.

    An expression without a known noun (step 0 by another annotator) is not seen.
    """
    found = [
        (index, text, detection)
        for index, text in enumerate(texts)
        for detection in detections
        if detection.coco_class == _class_of(text)
    ]
    return {
        "instances": [
            {
                "id": index,
                "label": text,
                "bbox_2d": list(detection.box),
                "score": round(detection.score, 4),
            }
            for index, text, detection in found
        ],
        "absent": sorted(set(range(len(texts))) - {index for index, _, _ in found}),
    }


def _class_of(text: str) -> str | None:
    """The class of the first known thing that an expression names: its head noun."""
    mention = next(find_mentions(text), None)
    return mention.coco_class if mention else None
