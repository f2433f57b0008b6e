# SPDX-License-Identifier: Apache-2.0
"""Any OpenAI-compatible server, through the ``openai`` SDK."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion

from image_grounding.endpoints.base import Finish, Question, Reply, Usage
from image_grounding.endpoints.errors import (
    error_text,
    network_error,
    safe_address,
    scrub,
    status_error,
)
from image_grounding.endpoints.negotiation import Negotiation, Taken
from image_grounding.errors import (
    BlockedError,
    EndpointError,
    EndpointTimeoutError,
    RejectedRequestError,
    ServerFaultError,
)
from image_grounding.spec import OpenAI
from image_grounding.spec.model import AutoBool

# Where a key may come from when the spec names none: only for hosts that it belongs to.
_KEY_VARIABLES = {".nvidia.com": "NVIDIA_API_KEY", ".openai.com": "OPENAI_API_KEY"}
_NO_KEY = "EMPTY"
_MAX_GIVING_IN = 6


def openai_key(settings: OpenAI) -> str:
    """The key to send: the spec's, or the variable that belongs to the host, or a filler."""
    host = urlsplit(settings.base_url).hostname or ""
    for suffix, variable in _KEY_VARIABLES.items():
        if not settings.api_key and host.endswith(suffix):
            return os.environ.get(variable) or _NO_KEY
    return settings.api_key or _NO_KEY


class OpenAIEndpoint:
    """Chat completions with one image, over ``AsyncOpenAI``; the SDK's own retries are off."""

    def __init__(
        self,
        settings: OpenAI,
        structured_output: AutoBool = "auto",
        say: Callable[[str], None] = print,
    ) -> None:
        self._settings = settings
        self._key = openai_key(settings)
        self._structured = structured_output is not False
        self.negotiation = Negotiation(("schema",) if structured_output is True else (), say)
        self._client = openai.AsyncOpenAI(
            api_key=self._key,
            base_url=settings.base_url,
            max_retries=0,
            timeout=settings.timeout,
            organization="",
            project="",
        )

    async def send(self, question: Question) -> Reply:
        """Ask once; see ``Endpoint.send``."""
        for _ in range(_MAX_GIVING_IN):
            request = self._request(question)
            sent = {name: self.negotiation.times_refused(name) for name in self._names(request)}
            try:
                return await self._once(request)
            except (RejectedRequestError, ServerFaultError) as error:
                if isinstance(error, ServerFaultError):  # some fail over a schema, with a 500
                    sent = {name: times for name, times in sent.items() if name == "schema"}
                if not self.negotiation.give_in(str(error), sent):
                    raise
        raise RejectedRequestError("the endpoint refuses every form of the request")

    def _request(self, question: Question) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": question.prompt}]
        if question.image:
            url = question.image.data_url
            content.insert(0, {"type": "image_url", "image_url": {"url": url}})
        limit = self._settings.max_tokens * question.token_factor
        limit = max(limit >> self.negotiation.times_refused("token_limit"), 64)
        key = "max_tokens" if self.negotiation.takes("max_tokens") else "max_completion_tokens"
        request: dict[str, Any] = {
            "model": self._settings.model_name,
            "messages": [{"role": "user", "content": content}],
            key: limit,
        }
        if self._settings.temperature is not None and self.negotiation.takes("temperature"):
            request["temperature"] = self._settings.temperature
        if question.schema and self._structured and self.negotiation.takes("schema"):
            request["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": question.schema.name,
                    "schema": question.schema.schema,
                    "strict": True,
                },
            }
        return request

    @staticmethod
    def _names(request: dict[str, Any]) -> list[str]:
        names = [name for name in ("temperature", "max_tokens") if name in request]
        return [*names, *(["schema"] if "response_format" in request else []), "token_limit"]

    async def _once(self, request: dict[str, Any]) -> Reply:
        started = time.perf_counter()
        async with self._our_errors():
            # As chat.completions.create, without its walk over the request by type hints, which
            # takes more than a millisecond of CPU.
            answer = await self._client.post(
                "/chat/completions", body=request, cast_to=ChatCompletion
            )
        return self._reply(answer, time.perf_counter() - started)

    async def models(self) -> list[str]:
        """Names of the served models; see ``Endpoint.models``."""
        async with self._our_errors():
            page = await self._client.models.list()
        found = getattr(page, "data", None)
        return [model.id for model in found] if isinstance(found, list) else []

    @contextlib.asynccontextmanager
    async def _our_errors(self) -> AsyncIterator[None]:
        """What the SDK raises, as our errors; bounded by the timeout."""
        address = safe_address(self._settings.base_url)
        try:
            async with asyncio.timeout(self._settings.timeout):
                yield
        except (openai.APITimeoutError, TimeoutError):
            raise EndpointTimeoutError(
                f"no answer from {address} within {self._settings.timeout:g} s"
            ) from None
        except openai.APIStatusError as error:
            message = scrub(error_text(error.body) or error.response.reason_phrase, self._key)
            raise status_error(error.status_code, message, error.response.headers) from None
        except openai.APIConnectionError as error:
            raise network_error(error, address) from None
        except (openai.APIError, ValueError) as error:
            raise self._no_answer(str(error)) from None

    def _no_answer(self, text: str) -> EndpointError:
        said = scrub(text, self._key)
        return ServerFaultError(f"the endpoint's answer is no chat completion: {said}")

    def _reply(self, answer: Any, latency: float) -> Reply:
        if not isinstance(answer, ChatCompletion):
            raise self._no_answer(str(answer))
        if not answer.choices or answer.choices[0].message is None:
            raise ServerFaultError("the endpoint answered without choices")
        choice = answer.choices[0]
        text = _content_text(choice.message.content)
        finish = Finish.LENGTH if choice.finish_reason == "length" else Finish.STOP
        if choice.finish_reason == "content_filter" or (choice.message.refusal and not text):
            reason = scrub(choice.message.refusal or "content filter", self._key)
            raise BlockedError(f"the provider's filter blocked the answer ({reason})")
        if not text and finish is Finish.STOP:
            raise ServerFaultError("the endpoint answered with an empty text")
        usage = Usage(
            getattr(answer.usage, "prompt_tokens", None) or 0,
            getattr(answer.usage, "completion_tokens", None) or 0,
        )
        return Reply(text, finish, usage, latency)

    def takes(self) -> list[Taken]:
        """See ``Endpoint.takes``."""
        return self.negotiation.report(("temperature", "max_tokens", "token_limit", "schema"))

    async def close(self) -> None:
        """Let connections go."""
        await self._client.close()


def _content_text(content: Any) -> str:
    """A message's text; some servers send it as a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
