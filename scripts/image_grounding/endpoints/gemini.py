# SPDX-License-Identifier: Apache-2.0
"""Google Gemini, through the ``google-genai`` SDK."""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from google import genai
from google.genai import errors, types

from image_grounding.endpoints.base import Finish, Question, Reply, Usage
from image_grounding.endpoints.errors import network_error, safe_address, scrub, status_error
from image_grounding.endpoints.negotiation import Negotiation, Taken
from image_grounding.endpoints.retired import retirement
from image_grounding.errors import (
    BlockedError,
    EndpointTimeoutError,
    KeyRefusedError,
    RejectedRequestError,
    ServerFaultError,
)
from image_grounding.spec import Gemini
from image_grounding.spec.model import AutoBool

API_VERSION = "v1beta"
_GOOGLE = "https://generativelanguage.googleapis.com"
_BLOCKED = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR"}
    | {"IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"}
)
# Levels from the least on; an endpoint that refuses one is asked for the next.
_THINKING_LEVELS = ("MINIMAL", "LOW")
_MAX_GIVING_IN = 8


def gemini_key(settings: Gemini) -> str:
    """The key: the spec's, else GOOGLE_API_KEY, else GEMINI_API_KEY, else ""."""
    environ = os.environ
    return settings.api_key or environ.get("GOOGLE_API_KEY") or environ.get("GEMINI_API_KEY") or ""


class GeminiEndpoint:
    """``generate_content`` with one image; the SDK's own retries are off."""

    def __init__(
        self,
        settings: Gemini,
        structured_output: AutoBool = "auto",
        say: Callable[[str], None] = print,
    ) -> None:
        """Make a client; raises KeyRefusedError where there is no key to send."""
        self._settings = settings
        self._key = gemini_key(settings)
        if not self._key:
            raise KeyRefusedError(
                "no key for Gemini: set the environment variable GOOGLE_API_KEY "
                "(https://aistudio.google.com/apikey makes one)"
            )
        if warning := retirement(settings.model):
            say(f"warning: {warning}")
        self._structured = structured_output is not False
        fixed = ("schema",) if structured_output is True else ()
        self.negotiation = Negotiation(fixed, say)
        self._client = genai.Client(
            api_key=self._key,
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=settings.base_url or None,
                api_version=API_VERSION,
                timeout=int(settings.timeout * 1000),
                # Given, or aiohttp (where installed) retries once behind our back.
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        )

    async def send(self, question: Question) -> Reply:
        """Ask once; see ``Endpoint.send``."""
        for _ in range(_MAX_GIVING_IN):
            config = self._config(question)
            sent = {name: self.negotiation.times_refused(name) for name in self._names(config)}
            try:
                return await self._once(question, config)
            except RejectedRequestError as error:
                if not self.negotiation.give_in(str(error), sent):
                    raise
        raise RejectedRequestError("the endpoint refuses every form of the request")

    def _config(self, question: Question) -> types.GenerateContentConfig:
        settings, takes = self._settings, self.negotiation.takes
        limit = settings.max_output_tokens * question.token_factor
        config = types.GenerateContentConfig(
            max_output_tokens=max(limit >> self.negotiation.times_refused("token_limit"), 64),
            thinking_config=self._thinking(),
        )
        if settings.temperature is not None and takes("temperature"):
            config.temperature = settings.temperature
        if question.image and takes("media_resolution"):
            config.media_resolution = types.MediaResolution(settings.media_resolution)
        if question.schema and self._structured and takes("schema"):
            config.response_mime_type = "application/json"
            config.response_json_schema = question.schema.schema
        return config

    def _thinking(self) -> types.ThinkingConfig | None:
        refused = self.negotiation.times_refused("thinking")
        level = self._settings.thinking_level
        if level != "auto":
            chosen: tuple[str, ...] = (level.upper(),)
        elif re.search(r"gemini-2\.5", self._settings.model):
            return types.ThinkingConfig(thinking_budget=0) if refused == 0 else None
        else:
            chosen = _THINKING_LEVELS
        if refused >= len(chosen):
            return None
        return types.ThinkingConfig(thinking_level=types.ThinkingLevel(chosen[refused]))

    @staticmethod
    def _names(config: types.GenerateContentConfig) -> list[str]:
        given = {
            "temperature": config.temperature,
            "media_resolution": config.media_resolution,
            "schema": config.response_json_schema,
            "thinking": config.thinking_config,
            "token_limit": config.max_output_tokens,
        }
        return [name for name, value in given.items() if value is not None]

    async def _once(self, question: Question, config: types.GenerateContentConfig) -> Reply:
        parts: list[Any] = []
        if question.image:
            image = question.image
            parts.append(types.Part.from_bytes(data=image.data, mime_type=image.mime_type))
        parts.append(types.Part.from_text(text=question.prompt))
        started = time.perf_counter()
        async with self._our_errors():
            answer = await self._client.aio.models.generate_content(
                model=self._settings.model, contents=parts, config=config
            )
        return self._reply(answer, time.perf_counter() - started)

    async def models(self) -> list[str]:
        """Names of the served models, without ``models/``; see ``Endpoint.models``."""
        async with self._our_errors():
            pager = await self._client.aio.models.list()
            return [(model.name or "").removeprefix("models/") async for model in pager]

    @contextlib.asynccontextmanager
    async def _our_errors(self) -> AsyncIterator[None]:
        """What the SDK raises, as our errors; bounded by the timeout."""
        timeout = self._settings.timeout
        address = safe_address(self._settings.base_url or _GOOGLE)
        try:
            async with asyncio.timeout(timeout):
                yield
        except errors.APIError as error:
            message = scrub(error.message or error.status or "", self._key)
            headers = getattr(error.response, "headers", None)
            raise status_error(error.code, message, headers) from None
        except ValueError as error:  # a 200 that is not JSON
            said = scrub(str(error), self._key)
            raise ServerFaultError(f"the endpoint's answer is not JSON: {said}") from None
        except Exception as error:
            if "Timeout" in type(error).__name__:
                message = f"no answer from {address} within {timeout:g} s"
                raise EndpointTimeoutError(message) from None
            if type(error).__module__.partition(".")[0] in ("httpx2", "httpx", "aiohttp") or (
                isinstance(error, OSError)
            ):
                raise network_error(error, address) from None
            raise

    def _reply(self, answer: types.GenerateContentResponse, latency: float) -> Reply:
        feedback = answer.prompt_feedback
        if feedback and feedback.block_reason:
            raise BlockedError(f"Gemini blocked the prompt ({_name(feedback.block_reason)})")
        if not answer.candidates:
            raise ServerFaultError("the endpoint answered without candidates")
        candidate = answer.candidates[0]
        reason = _name(candidate.finish_reason)
        if reason in _BLOCKED:
            raise BlockedError(f"Gemini blocked the answer ({reason})")
        parts = (candidate.content.parts if candidate.content else None) or []
        text = "".join(part.text or "" for part in parts if not part.thought)
        finish = Finish.LENGTH if reason == "MAX_TOKENS" else Finish.STOP
        if not text and finish is Finish.STOP:
            raise ServerFaultError(f"the endpoint answered with an empty text ({reason})")
        counts = answer.usage_metadata
        usage = Usage(
            (counts.prompt_token_count if counts else 0) or 0,
            ((counts.candidates_token_count if counts else 0) or 0)
            + ((counts.thoughts_token_count if counts else 0) or 0),
        )
        return Reply(text, finish, usage, latency)

    def takes(self) -> list[Taken]:
        """See ``Endpoint.takes``."""
        names = ("temperature", "media_resolution", "thinking", "token_limit", "schema")
        return self.negotiation.report(names)

    async def close(self) -> None:
        """Let connections go."""
        await self._client.aio.aclose()


def _name(value: Any) -> str:
    return str(getattr(value, "value", value) or "no reason given")
