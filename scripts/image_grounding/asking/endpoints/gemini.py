# SPDX-License-Identifier: Apache-2.0
"""Google Gemini, through the ``google-genai`` SDK."""

import contextlib
import json
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import cached_property
from typing import Any

import aiohttp
from google import genai
from google.genai import errors, types

from image_grounding.asking.endpoints.answers import only_good
from image_grounding.asking.endpoints.completion import token_count
from image_grounding.asking.endpoints.connections import FirstPost, calling, open_session
from image_grounding.asking.endpoints.errors import redact, require_sendable, scrub
from image_grounding.asking.endpoints.gemini_wire import answer_of, request_body
from image_grounding.asking.endpoints.negotiation import Negotiation, Request, Terms
from image_grounding.asking.endpoints.readiness import GOOGLE
from image_grounding.asking.endpoints.retired import retirement
from image_grounding.errors import BlockedError, KeyRefusedError, ServerFaultError
from image_grounding.families.image_tokens import LOW_RESOLUTION
from image_grounding.files import encodable
from image_grounding.images.encoding import EncodedImage
from image_grounding.spec import Gemini
from image_grounding.spec.model import AutoBool
from image_grounding.spec.secrets import address_secrets
from image_grounding.steps.question import Finish, Question, Reply, Usage

API_VERSION = "v1beta"
_BLOCKED = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR"}
    | {"IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"}
)
# What the SDK raises over a 200 that is no JSON, or JSON of another shape.
_ODD_ANSWERS = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
# Levels from the least on; an endpoint that refuses one is asked for the next.
_THINKING_LEVELS = ("MINIMAL", "LOW")


def gemini_key(settings: Gemini) -> str:
    """The key: the spec's, else GOOGLE_API_KEY, else GEMINI_API_KEY, else ""."""
    environ = os.environ
    return settings.api_key or environ.get("GOOGLE_API_KEY") or environ.get("GEMINI_API_KEY") or ""


def require_key(settings: Gemini) -> str:
    """The key; raises KeyRefusedError where there is none to send."""
    key = gemini_key(settings)
    if not key:
        raise KeyRefusedError(
            "no key for Gemini: set the environment variable GOOGLE_API_KEY "
            "(https://aistudio.google.com/apikey makes one)"
        )
    require_sendable(key)
    return key


def make_client(settings: Gemini, key: str, session: aiohttp.ClientSession) -> genai.Client:
    """The SDK's client over a session of ours."""
    return genai.Client(
        api_key=key,
        vertexai=False,
        http_options=types.HttpOptions(
            base_url=settings.address or None,
            api_version=API_VERSION,
            timeout=int(settings.timeout * 1000),
            # Given, or the SDK repeats a request on aiohttp once behind our back.
            retry_options=types.HttpRetryOptions(attempts=1),
            # Its own would read .netrc and the proxy's variables for every request.
            aiohttp_client=session,
        ),
    )


class GeminiEndpoint:
    """``generate_content`` with one image, on aiohttp; the SDK's own retries are off."""

    parameters: tuple[str, ...] = (
        "temperature",
        "media_resolution",
        "thinking",
        "token_limit",
        "schema",
    )

    def __init__(
        self,
        settings: Gemini,
        structured_output: AutoBool = "auto",
        say: Callable[[str], None] = print,
    ) -> None:
        """Look for the key; raises KeyRefusedError where there is none to send."""
        self._settings = settings
        self._key = require_key(settings)
        self._secrets = (self._key, *address_secrets(settings.address))
        if warning := retirement(settings.model):
            say(f"warning: {warning}")
        self._structured = structured_output is not False
        fixed = ("schema",) if structured_output is True else ()
        self.negotiation = Negotiation(fixed, say)
        self._session: aiohttp.ClientSession | None = None
        self._first_post = FirstPost()

    @cached_property
    def _client(self) -> genai.Client:
        """Made by the first request: its session belongs to the event loop."""
        settings = self._settings
        url = settings.address or GOOGLE
        self._session = open_session(url, only_good(self._secrets), self._first_post)
        return make_client(settings, self._key, self._session)

    def request(self, question: Question, image: EncodedImage | None, terms: Terms) -> Request:
        """A question on these terms, in plain values; see ``Endpoint.request``."""
        parts: list[dict[str, Any]] = [{"text": question.prompt}]
        if image:
            parts.insert(0, {"inline_data": {"data": image.data, "mime_type": image.mime_type}})
        limit = terms.limit(self._settings.max_output_tokens * question.token_factor)
        config: dict[str, Any] = {"max_output_tokens": limit}
        optional = set()
        if thinking := self._thinking(terms):
            config["thinking_config"] = thinking
            optional.add("thinking")
        if self._settings.temperature is not None and terms.supports("temperature"):
            config["temperature"] = self._settings.temperature
            optional.add("temperature")
        if image and terms.supports("media_resolution"):
            low = question.picture is not None and question.picture.detail == "low"
            config["media_resolution"] = LOW_RESOLUTION if low else self._settings.media_resolution
            optional.add("media_resolution")
        schema = question.schema if self._structured and terms.supports("schema") else None
        if schema:
            config["response_mime_type"] = "application/json"
            config["response_json_schema"] = dict(schema.schema)
            optional.add("schema")
        body = {"contents": [{"role": "user", "parts": parts}], "config": config}
        return Request(body, frozenset(optional), limit, schema.name if schema else None)

    def _thinking(self, terms: Terms) -> dict[str, Any] | None:
        refused = terms.times_refused("thinking")
        level = self._settings.thinking_level
        if level != "auto":
            chosen: tuple[str, ...] = (level.upper(),)
        elif re.search(r"gemini-2\.5", self._settings.model):
            return {"thinking_budget": 0} if refused == 0 else None
        else:
            chosen = _THINKING_LEVELS
        if refused >= len(chosen):
            return None
        return {"thinking_level": chosen[refused]}

    async def send(self, request: Request) -> Reply:
        """Ask once; see ``Endpoint.send``."""
        started = time.perf_counter()
        async with self._our_errors():
            answer = await (self._post(request) if self._first_post else self._generate(request))
            return read_answer(answer, time.perf_counter() - started, self._secrets)

    async def _generate(self, request: Request) -> types.GenerateContentResponse:
        return await self._client.aio.models.generate_content(
            model=self._settings.model, **request.body
        )

    async def _post(self, request: Request) -> types.GenerateContentResponse:
        assert self._session
        answer = await self._first_post.again(self._session, request_body(request.body))
        return answer_of(json.loads(await answer.read()))

    async def models(self) -> list[str]:
        """Names of the served models, without ``models/``; see ``Endpoint.models``."""
        async with self._our_errors():
            pager = await self._client.aio.models.list()
            return [(model.name or "").removeprefix("models/") async for model in pager]

    @contextlib.asynccontextmanager
    async def _our_errors(self) -> AsyncIterator[None]:
        """What the SDK raises, as our errors; bounded by the timeout."""
        async with calling(self._settings.address or GOOGLE, self._settings.timeout):
            try:
                yield
            except aiohttp.ClientError:  # some are ValueErrors, too
                raise
            except errors.APIError as error:  # a status that is neither an error nor 200
                text = scrub(str(error), *self._secrets)
                raise ServerFaultError(f"the endpoint's answer is no reply: {text}") from None
            except _ODD_ANSWERS as error:
                text = scrub(str(error), *self._secrets)
                raise ServerFaultError(f"the endpoint's answer cannot be read: {text}") from None

    async def close(self) -> None:
        """Let connections go."""
        if self._session:
            await self._client.aio.aclose()
            await self._session.close()


def read_answer(
    answer: types.GenerateContentResponse, latency: float, secrets: Sequence[str]
) -> Reply:
    """The reply in an answer.

    Args:
        answer: the answer.
        latency: seconds that it took.
        secrets: what must be in no text.

    Raises:
        BlockedError: the provider's filter refused.
        ServerFaultError: there is no text.
    """
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
    usage = _usage(answer.usage_metadata)
    return Reply(encodable(redact(text, *secrets)), finish, usage, latency)


def _usage(counts: types.GenerateContentResponseUsageMetadata | None) -> Usage:
    if counts is None:
        return Usage()
    written = (counts.candidates_token_count, counts.thoughts_token_count)
    return Usage(
        token_count(counts.prompt_token_count),
        sum(map(token_count, written)),
        token_count(counts.cached_content_token_count),
    )


def _name(value: Any) -> str:
    return str(getattr(value, "value", value) or "no reason given")
