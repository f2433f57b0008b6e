# SPDX-License-Identifier: Apache-2.0
"""What every target asks of values that come out."""

import json
from typing import Any

from image_grounding.files import clean_json, to_json


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} was written")


def check_writable(value: Any) -> None:
    """That a value can be written as strict JSON, for our files and for users'."""
    for text in (to_json(value), clean_json(value)):
        text.encode()
        assert "\n" not in text
        json.loads(text, parse_constant=_refuse)


def check_message(error: Exception) -> None:
    """That an error can be shown."""
    assert str(error), f"{type(error).__name__} without a word"
