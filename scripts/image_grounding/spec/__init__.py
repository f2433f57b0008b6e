# SPDX-License-Identifier: Apache-2.0
"""The spec: YAML in, a validated frozen value out."""

from image_grounding.spec.load import load_limits, load_spec, read_spec
from image_grounding.spec.model import Gemini, Limits, OpenAI, Spec, Vlm

__all__ = [
    "Gemini",
    "Limits",
    "OpenAI",
    "Spec",
    "Vlm",
    "load_limits",
    "load_spec",
    "read_spec",
]
