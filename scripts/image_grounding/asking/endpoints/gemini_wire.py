# SPDX-License-Identifier: Apache-2.0
"""Gemini's JSON of a request and of an answer, as they travel.

Source: https://ai.google.dev/api/generate-content
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from google.genai import types

_COUNTS = (
    *("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"),
    "cachedContentTokenCount",
)


def generation_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a request that the SDK makes of its ``config``."""
    return {
        _camel(name): {_camel(part): of for part, of in value.items()}
        if name == "thinking_config"
        else value
        for name, value in config.items()
    }


def request_body(body: Mapping[str, Any]) -> bytes:
    """A request as the SDK sends it; a picture's base64 is copied, not walked over.

    Args:
        body: ``contents``, a text and perhaps a picture, and ``config``, as the SDK takes them.
    """
    (content,) = body["contents"]
    parts = b",".join(map(_part, content["parts"]))
    config = json.dumps(generation_config(body["config"])).encode()
    role = json.dumps(content["role"]).encode()
    return b'{"contents":[{"role":%b,"parts":[%b]}],"generationConfig":%b}' % (role, parts, config)


def _part(part: Mapping[str, Any]) -> bytes:
    if "inline_data" not in part:
        return json.dumps(part).encode()
    picture = part["inline_data"]
    kind, data = json.dumps(picture["mime_type"]).encode(), base64.b64encode(picture["data"])
    return b'{"inlineData":{"mimeType":%b,"data":"%b"}}' % (kind, data)


def answer_of(values: Any) -> types.GenerateContentResponse:
    """What is read of an answer; the SDK would refuse fields that it does not know.

    Args:
        values: the JSON value of its body.

    Raises:
        ValueError, TypeError, AttributeError, LookupError: it has another shape.
    """
    values = values if isinstance(values, dict) else {}
    candidate = _first(values.get("candidates"))
    parts = (candidate.get("content") or {}).get("parts") or []
    usage = values.get("usageMetadata") or {}
    blocked = (values.get("promptFeedback") or {}).get("blockReason")
    reason = candidate.get("finishReason")
    texts = [{name: part[name] for name in ("text", "thought") if name in part} for part in parts]
    return types.GenerateContentResponse.model_validate(
        {
            "candidates": [{"finishReason": reason, "content": {"parts": texts}}]
            if candidate
            else [],
            "usageMetadata": {name: usage[name] for name in _COUNTS if name in usage},
            **({"promptFeedback": {"blockReason": blocked}} if blocked else {}),
        }
    )


def _first(values: Any) -> Mapping[str, Any]:
    return values[0] if values else {}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
