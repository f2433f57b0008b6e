# SPDX-License-Identifier: Apache-2.0
"""OpenAI's batch lines, which vLLM reads and writes, too."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from image_grounding.asking.endpoints.completion import read_completion
from image_grounding.asking.endpoints.errors import scrub, status_error
from image_grounding.batch.local_files import opened
from image_grounding.batch.queue import Result
from image_grounding.errors import EndpointError, JobEndedError, ServerFaultError
from image_grounding.steps.question import Reply

ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_EXPIRED = frozenset({"batch_expired", "batch_cancelled"})
# Where an error may have its text, and what to name where it has none.
_TEXTS = ("error", "message", "detail", "code", "type")
_MOST_NESTED = 20
# Longer than any completion.
_MOST_BYTES = 32 * 2**20


_HEAD = '{"custom_id":"'


def request_line(key: str, body: bytes) -> bytes:
    """A request as a line; ``body`` is that of a chat completion."""
    head = f'{_HEAD}{key}","method":"POST","url":"{ENDPOINT}","body":'
    return head.encode() + body + b"}\n"


def keys_in(path: Path) -> Iterator[str]:
    """The ids in a file of such lines; the pictures in them are not read."""
    with opened(path, "rb") as file:
        for line in file:
            if line.startswith(_HEAD.encode()):  # somebody may have cut it
                yield line[len(_HEAD) :].partition(b'"')[0].decode(errors="replace")


def read_results(path: Path, secrets: Sequence[str]) -> Iterator[Result]:
    """The result lines of a file; what is none, as the cut end of a file, is left out."""
    for line in objects(path):
        key = line.get("custom_id")
        if isinstance(key, str):
            yield Result(key, _outcome(line, secrets))


def objects(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of lines, without what is none; raises OutputError."""
    with opened(path, "rb") as file:
        while raw := file.readline(_MOST_BYTES):
            try:
                value = json.loads(raw)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield value


def _outcome(line: dict[str, Any], secrets: Sequence[str]) -> Reply | EndpointError:
    response, error = line.get("response"), line.get("error")
    status = response.get("status_code", 200) if isinstance(response, dict) else None
    body = response.get("body") if isinstance(response, dict) else None
    if status == 200 and body is not None:
        try:
            return read_completion(body, 0.0, secrets)
        except EndpointError as found:
            return found
    message = scrub(_words(body) or _words(error), *secrets)
    if isinstance(error, dict) and str(error.get("code")) in _EXPIRED:
        return JobEndedError(f"the batch job ended before it answered this request ({message})")
    if isinstance(status, int) and status >= 400:
        return status_error(status, message)
    why = message or "its line holds neither an answer nor a reason"
    return ServerFaultError(f"the batch queue failed this request: {why}")


def _words(problem: Any) -> str:
    """What a body or an error says, whatever its shape; empty where it says nothing."""
    for _ in range(_MOST_NESTED):
        if isinstance(problem, dict):
            problem = next(filter(None, map(problem.get, _TEXTS)), None)
        elif isinstance(problem, list):
            problem = problem[0] if problem else None
        else:
            return str(problem or "")
    return ""
