# SPDX-License-Identifier: Apache-2.0
"""What is known of model families: how they write boxes, what image size they use.

A profile is chosen by the model's name and only decides how a model is asked and what is
expected of it; what an endpoint really answers in is measured.
"""

import re
from dataclasses import dataclass, replace

from image_grounding.boxes.frames import CONVENTIONS, Transport

_PATCH28 = Transport(max_pixels=1280 * 28 * 28, multiple=28, min_pixels=4 * 28 * 28)
_PATCH32 = Transport(max_pixels=1024 * 32 * 32, multiple=32, min_pixels=4 * 32 * 32)
_ANY_SIZE = Transport(max_pixels=1280 * 28 * 28, min_side=28)
# No side over 1568 pixels, at which the server would shrink it, up to an aspect of 4:1.
_SIDE_1568 = Transport(max_pixels=1568 * 392)
# No short side over 768 pixels, at which the server would shrink it.
_SIDE_768 = Transport(max_pixels=768 * 768)


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

# The first pattern found in the lower-case model name wins; behind each, where it is from. A
# family without a known way of writing boxes as numbers has no row: PaliGemma (location tokens),
# Molmo (points), Llama, Phi, Pixtral, GPT-4.
_FAMILIES: tuple[tuple[str, Family], ...] = (
    (r"gemini", Family("Gemini", "norm1000_yxyx", "box_2d")),  # Google
    (r"(?<!pali)gemma[-_]?[34]", Family("Gemma", "norm1000_yxyx", "box_2d")),  # Google
    (
        # Qwen, ms-swift; the hosted ones: help.aliyun.com/zh/model-studio/vision, midscene
        r"qwen[-_]?2[._]5[-_]?(vl|omni)|cosmos[-_]?reason[-_]?1|mimo[-_]?vl"
        r"|qwen[-_]?vl[-_]?(max|plus)",
        Family("Qwen2.5-VL", "pixel_resized", transport=_PATCH28),
    ),
    (
        r"qwen[-_]?2[-_]?vl|qvq",  # Qwen; QVQ-72B's base model by its card
        Family("Qwen2-VL", "norm1000_xyxy", transport=_PATCH28),
    ),
    (
        # A generation, not a size as in "qwen-7b".
        r"qwen[-_]?[3-9]([._]\d+)?(?![\d._b])|cosmos[-_]?reason[-_]?[2-9]",  # Qwen, NVIDIA
        Family("Qwen3-VL and later", "norm1000_xyxy", transport=_PATCH32),
    ),
    (r"intern[-_]?vl", Family("InternVL", "norm1000_xyxy")),  # OpenGVLab
    (
        r"glm[-_]?(4([._p][1-9])?|[5-9]([._p]\d)?)v",  # zai-org/GLM-V; CogVLM (GLM-4V), to 999
        Family("GLM-V", "norm1000_xyxy"),
    ),
    (r"deepseek[-_]?vl[-_]?2", Family("DeepSeek-VL2", "norm1000_xyxy")),  # DeepSeek, to 999
    (r"deepseek[-_]?(v4.*)?(flash|vision)", Family("DeepSeek", "norm1000_xyxy")),  # midscene
    (r"minicpm[-_]?[vo]", Family("MiniCPM-V", "norm1000_xyxy")),  # OpenBMB
    (r"ernie.*[-_]vl", Family("ERNIE-VL", "norm1000_xyxy")),  # Baidu
    (
        r"doubao|(?<![a-z])seed[-_]?[12][._-]\d",  # Volcengine, docs/82379/1616136
        Family("Seed-VL", "norm1000_xyxy"),
    ),
    (
        r"kimi[-_]?(vl|k2[._p-]?[5-9](?!\d))",  # MoonshotAI/Kimi-VL issue 56; OSWorld (Kimi K2.5)
        Family("Kimi-VL", "norm1_xyxy"),
    ),
    (
        r"(?<![a-z])nova[-_]?(2[-_.]?)?(lite|pro|premier|omni)",  # docs.aws.amazon.com/nova
        Family("Amazon Nova", "norm1000_xyxy"),
    ),
    (r"claude", Family("Claude", "pixel_sent", transport=_SIDE_1568)),  # Anthropic
    (
        r"gpt[-_]?5",  # techcommunity.microsoft.com, "GPT-5.4 ... Spatial Precision"; midscene
        Family("GPT-5", "pixel_sent", transport=_SIDE_768),
    ),
)


def asked_family(model: str, coordinates: str) -> Family:
    """The family by a model's name; a convention that the spec names is asked for as such.

    Args:
        model: the model's name.
        coordinates: a convention, or ``auto`` for what the family is known to write.
    """
    family = family_of(model)
    return family if coordinates == "auto" else replace(family, convention=coordinates)


def family_of(model: str) -> Family:
    """The family that a model's name tells, or ``UNKNOWN``."""
    name = model.lower()
    return next((family for pattern, family in _FAMILIES if re.search(pattern, name)), UNKNOWN)
