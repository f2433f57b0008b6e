# SPDX-License-Identifier: Apache-2.0
"""Gemini's batch lines: requests and answers of generateContent, each with a key."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from image_grounding.asking.endpoints.errors import scrub, status_error
from image_grounding.asking.endpoints.gemini import read_answer
from image_grounding.asking.endpoints.gemini_wire import answer_of, generation_config
from image_grounding.batch.lines import objects
from image_grounding.batch.queue import Result
from image_grounding.errors import EndpointError, JobEndedError, ServerFaultError
from image_grounding.steps.question import Reply

# HTTP statuses of the numbers that google.rpc gives errors.
_STATUSES: Mapping[int, int] = MappingProxyType(
    {1: 503, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 16: 401}
)
# Of a picture that lay there for too long.
_PICTURE_GONE = re.compile(r"access the file|files?/\S+ (?:is|was|has|does)|file \S+ (?:not|has)")


def request_line(key: str, body: Mapping[str, Any], picture: str | None) -> bytes:
    """A request as a line.

    Args:
        key: its id.
        body: ``contents`` and ``config`` as the SDK takes them.
        picture: address of the uploaded picture, in the place of its bytes.
    """
    (content,) = body["contents"]
    request = {
        "contents": [{**content, "parts": [_part(part, picture) for part in content["parts"]]}],
        "generationConfig": generation_config(body["config"]),
    }
    return json.dumps({"key": key, "request": request}).encode() + b"\n"


def _part(part: Mapping[str, Any], picture: str | None) -> dict[str, Any]:
    if "inline_data" not in part:
        return dict(part)
    return {"fileData": {"mimeType": part["inline_data"]["mime_type"], "fileUri": picture}}


def read_results(path: Path, secrets: Sequence[str]) -> Iterator[Result]:
    """The result lines of a file; what is none is left out."""
    for line in objects(path):
        key = line.get("key")
        if isinstance(key, str):
            yield Result(key, _outcome(line, secrets))


def _outcome(line: Mapping[str, Any], secrets: Sequence[str]) -> Reply | EndpointError:
    error, response = line.get("error"), line.get("response")
    if isinstance(error, dict) and error:
        return _failed(error, secrets)
    try:
        return read_answer(answer_of(response), 0.0, secrets)
    except EndpointError as found:
        return found
    except (ValueError, TypeError, AttributeError, LookupError) as odd:
        text = scrub(str(odd), *secrets)
        return ServerFaultError(f"the endpoint's answer cannot be read: {text}")


def _failed(error: Mapping[str, Any], secrets: Sequence[str]) -> EndpointError:
    code = error.get("code")
    code = code if isinstance(code, int) else 13
    message = scrub(str(error.get("message") or error.get("status") or ""), *secrets)
    if _PICTURE_GONE.search(message.lower()):
        return JobEndedError(f"the batch job ended before it answered this request ({message})")
    return status_error(code if code >= 400 else _STATUSES.get(code, 500), message)
