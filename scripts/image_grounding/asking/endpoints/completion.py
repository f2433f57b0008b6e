# SPDX-License-Identifier: Apache-2.0
"""A chat completion read: what a server answered with a 200, whichever way it writes it."""

from collections.abc import Sequence
from typing import Any

from image_grounding.asking.endpoints.errors import error_text, redact, scrub, status_error
from image_grounding.errors import BlockedError, EndpointError, ServerFaultError
from image_grounding.files import encodable
from image_grounding.steps.question import Finish, Reply, Usage

# Tokens of a request, or seconds to wait: more than this no server can mean.
_MOST = 10**9
# Where servers put the text of a model that thinks aloud.
_THOUGHTS = ("reasoning_content", "reasoning")
_REMEDY_THOUGHTS = (
    "the server's reasoning parser takes the whole answer for thoughts: start it without one "
    "(vLLM: no --reasoning-parser), or turn thinking off with vlm.openai.extra_body, such as "
    "{chat_template_kwargs: {enable_thinking: false}}"
)


def read_completion(answer: Any, latency: float, secrets: Sequence[str]) -> Reply:
    """The reply in the JSON value of a chat completion.

    Args:
        answer: the value.
        latency: seconds that it took.
        secrets: what must be in no text.

    Raises:
        BlockedError: the provider's filter refused.
        EndpointError: it holds an error, which counts as one of its own status; or no text.
    """
    if not isinstance(answer, dict):
        raise no_completion(str(answer), secrets)
    choice = _first(answer.get("choices"))
    if error := answer.get("error") or choice.get("error"):
        raise _error_in_200(error, secrets)
    message = _mapping(choice.get("message"))
    if not message:
        raise ServerFaultError("the endpoint answered without choices")
    text = _content_text(message.get("content"))
    reason, refusal = choice.get("finish_reason"), message.get("refusal")
    finish = Finish.LENGTH if reason == "length" else Finish.STOP
    if reason == "content_filter" or (refusal and not text):
        why = scrub(str(refusal or "content filter"), *secrets)
        raise BlockedError(f"the provider's filter blocked the answer ({why})")
    if not text and finish is Finish.STOP:
        raise _empty(message)
    return Reply(encodable(redact(text, *secrets)), finish, _usage(answer), latency)


def _usage(answer: dict[str, Any]) -> Usage:
    usage = _mapping(answer.get("usage"))
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    counts.append(_mapping(usage.get("prompt_tokens_details")).get("cached_tokens"))
    return Usage(*map(token_count, counts))


def token_count(value: Any) -> int:
    """A number of tokens as a server gives it; 0 for what is none."""
    return value if isinstance(value, int) and 0 < value <= _MOST else 0


def no_completion(text: str, secrets: Sequence[str]) -> EndpointError:
    """The error for a 200 that is something else."""
    what = scrub(text, *secrets)
    return ServerFaultError(f"the endpoint's answer is no chat completion: {what}")


def _error_in_200(error: Any, secrets: Sequence[str]) -> EndpointError:
    """Gateways put an upstream's error into a 200, some beside choices."""
    fields = _mapping(error)
    code = fields.get("code")
    code = int(code) if isinstance(code, str) and code.isdecimal() else code
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    metadata = _mapping(fields.get("metadata"))
    waits = (source.get("retry_after") for source in (fields, metadata))
    known = (value for value in waits if isinstance(value, int | float) and 0 <= value <= _MOST)
    wait = next(map(float, known), None)
    headers = {
        str(name).lower(): str(value) for name, value in _mapping(metadata.get("headers")).items()
    }
    message = scrub(error_text({"error": error}), *secrets)
    return status_error(status, message, headers, retry_after=wait)


def _empty(message: dict[str, Any]) -> EndpointError:
    if any(_content_text(message.get(name)) for name in _THOUGHTS):
        what = "the endpoint answered with thoughts alone, in reasoning_content"
        return ServerFaultError(what, remedy=_REMEDY_THOUGHTS)
    return ServerFaultError("the endpoint answered with an empty text")


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(values: Any) -> dict[str, Any]:
    return _mapping(values[0]) if isinstance(values, list) and values else {}


def _content_text(content: Any) -> str:
    """A message's text; some servers send it as a list of parts."""
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""
