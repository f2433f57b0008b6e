# SPDX-License-Identifier: Apache-2.0
"""Gemini models that are gone or going, as Google's documents had it in November 2026."""

import re
from collections.abc import Mapping
from types import MappingProxyType

# Model -> (what becomes of it, what to use in its place).
_RETIRED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        r"gemini-1(\.\d)?-.*|gemini-pro(-vision)?": ("is gone", "gemini-3.5-flash-lite"),
        r"gemini-2\.0-.*": ("is gone", "gemini-3.5-flash-lite"),
        r"gemini-2\.5-pro": ("retires on 2026-12-01", "gemini-3.8-flash"),
        r"gemini-2\.5-flash": ("retires on 2026-12-01", "gemini-3.5-flash-lite"),
        r"gemini-3\.1-flash-lite-preview": ("was superseded", "gemini-3.5-flash-lite"),
        r"gemini-3\.1-flash-lite": ("retires in May 2027", "gemini-3.5-flash-lite"),
    }
)


def retirement(model: str) -> str | None:
    """A sentence where a Gemini model is retired or soon will be, else None."""
    name = model.removeprefix("models/")
    for pattern, (fate, replacement) in _RETIRED.items():
        if re.fullmatch(pattern, name):
            return f"the model {name} {fate}; use {replacement}"
    return None
