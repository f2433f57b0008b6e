# SPDX-License-Identifier: Apache-2.0
"""The Gemini models that are offered."""

# As of November 2026, the default first; any other name can be given.
GEMINI_MODELS = (
    "gemini-3.5-flash-lite",
    "gemini-3.8-flash",
    "gemini-3.7-flash",
    "gemini-3.6-flash",
    "gemini-3.5-flash",
    "gemini-3.1-pro-preview",
    "gemini-3.1-flash-lite",
)
