# SPDX-License-Identifier: Apache-2.0
"""Any OpenAI-compatible server, through the ``openai`` SDK."""

import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from image_grounding.asking.endpoints.completion import no_completion, read_completion
from image_grounding.asking.endpoints.connections import calling
from image_grounding.asking.endpoints.errors import (
    NO_KEY,
    is_hosted,
    require_sendable,
    safe_address,
)
from image_grounding.asking.endpoints.negotiation import Negotiation, Request, Terms
from image_grounding.asking.endpoints.sdk_transport import Transport
from image_grounding.errors import KeyRefusedError, ServerFaultError
from image_grounding.images.encoding import EncodedImage
from image_grounding.spec import OpenAI
from image_grounding.spec.model import AutoBool
from image_grounding.spec.secrets import address_secrets, names_credential
from image_grounding.steps.question import Question, Reply, ReplySchema

# Where a key may come from when the spec names none: only for hosts that it belongs to.
_KEY_VARIABLES = {".nvidia.com": "NVIDIA_API_KEY", ".openai.com": "OPENAI_API_KEY"}
_REMEDY_OPENAI_KEY = (
    "OPENAI_API_KEY is only sent to hosts of openai.com; if it is the key of this one, set "
    "vlm.openai.api_key='${oc.env:OPENAI_API_KEY}'"
)
# The token limit's name, and what it is called where that is refused.
_LIMIT_NAMES = ("max_tokens", "max_completion_tokens")


def openai_key(settings: OpenAI) -> str:
    """The key to send: the spec's, or the variable that belongs to the host, or a filler."""
    host = urlsplit(settings.base_url).hostname or ""
    for suffix, variable in _KEY_VARIABLES.items():
        if not settings.api_key and host.endswith(suffix):
            return os.environ.get(variable) or NO_KEY
    return settings.api_key or NO_KEY


def _withholds_openai_key(settings: OpenAI) -> bool:
    """Whether OPENAI_API_KEY is there and was not sent, to a server that nobody hosts."""
    nothing_sent = openai_key(settings) == NO_KEY and not _has_credential(settings)
    there = bool(os.environ.get("OPENAI_API_KEY"))
    return nothing_sent and there and not is_hosted(settings.base_url)


def _has_credential(settings: OpenAI) -> bool:
    return any(map(names_credential, settings.extra_headers))


def openai_headers(settings: OpenAI, key: str) -> dict[str, str | openai.Omit]:
    """The spec's own headers; where one of them is the credential, no filler of a key is sent."""
    without: dict[str, str | openai.Omit] = {"Authorization": openai.Omit()}
    filler = key == NO_KEY and _has_credential(settings)
    return {**(without if filler else {}), **settings.extra_headers}


def _read(answer: httpx2.Response) -> tuple[bytes, str]:
    """Its body and content type; what has none is taken for JSON."""
    return answer.content, answer.headers.get("content-type", "json")


def _value(body: bytes, content_type: str) -> Any:
    """The JSON value of an answer; what does not claim to be JSON as text."""
    try:
        return json.loads(body)
    except ValueError:
        if "json" in content_type:
            raise
        return body.decode(errors="replace")


def _body(
    prompt: str,
    image: EncodedImage | None,
    schema: ReplySchema | None,
    others: Mapping[str, Any],
) -> bytes:
    """The body of a chat completion; the picture's base64 is copied, not walked over."""
    parts = [b'{"messages":[{"role":"user","content":[']
    if image:
        head = f'{{"type":"image_url","image_url":{{"url":"data:{image.mime_type};base64,'
        parts += [head.encode(), image.base64, b'"}},']
    text = json.dumps({"type": "text", "text": prompt}).encode()
    parts += [text, b"]}],"]
    if schema:
        parts += [b'"response_format":{"type":"json_schema","json_schema":{"strict":true,']
        parts += [schema.text, b"}},"]
    # Last, so that what is among the spec's own extras, too, is replaced by it.
    parts.append(json.dumps(others).encode().removeprefix(b"{"))
    return b"".join(parts)


class OpenAIEndpoint:
    """Chat completions with one image, over ``AsyncOpenAI`` on aiohttp; its retries are off."""

    parameters: tuple[str, ...] = ("temperature", "max_tokens", "token_limit", "schema")

    def __init__(
        self,
        settings: OpenAI,
        structured_output: AutoBool = "auto",
        say: Callable[[str], None] = print,
    ) -> None:
        self._settings = settings
        key = openai_key(settings)
        self._secrets = (key, *settings.extra_secrets, *address_secrets(settings.base_url))
        require_sendable(key)
        self._structured = structured_output is not False
        self.negotiation = Negotiation(("schema",) if structured_output is True else (), say)
        self._options: openai.RequestOptions = {"headers": openai_headers(settings, key)}
        self._transport = Transport(settings.base_url, self._secrets)
        self._client = openai.AsyncOpenAI(
            api_key=key,
            default_query=dict(settings.extra_query),
            base_url=settings.base_url,
            max_retries=0,
            timeout=settings.timeout,
            http_client=httpx2.AsyncClient(transport=self._transport),
            organization="",
            project="",
        )

    def request(self, question: Question, image: EncodedImage | None, terms: Terms) -> Request:
        """A question on these terms; see ``Endpoint.request``."""
        body: dict[str, Any] = {"model": self._settings.model_name}
        optional = set()
        limit = terms.limit(self._settings.max_tokens * question.token_factor)
        if (times := terms.times_refused("max_tokens")) < len(_LIMIT_NAMES):
            body[_LIMIT_NAMES[times]] = limit
            optional.add("max_tokens")
        else:
            limit = 0
        if self._settings.temperature is not None and terms.supports("temperature"):
            body["temperature"] = self._settings.temperature
            optional.add("temperature")
        schema = question.schema if self._structured and terms.supports("schema") else None
        if schema:
            optional.add("schema")
        body |= self._settings.extra_body
        sent = _body(question.prompt, image, schema, body)
        return Request(sent, frozenset(optional), limit, schema.name if schema else None)

    async def send(self, request: Request) -> Reply:
        """Ask once; see ``Endpoint.send``."""
        started = time.perf_counter()
        async with self._our_errors():
            # As chat.completions.create, without its walk over request and answer by type
            # hints, which takes more than a millisecond of CPU and trusts what a server says.
            answer = await self._transport.post(request.body) or _read(
                await self._client.post(
                    "/chat/completions",
                    content=request.body,
                    cast_to=httpx2.Response,
                    options=self._options,
                )
            )
            return read_completion(_value(*answer), time.perf_counter() - started, self._secrets)

    async def models(self) -> list[str]:
        """Names of the served models; see ``Endpoint.models``."""
        async with self._our_errors():
            answer = await self._client.get(
                "/models", cast_to=httpx2.Response, options=self._options
            )
            body = _value(*_read(answer))
        listed = body.get("data", body.get("models")) if isinstance(body, dict) else body
        if not isinstance(listed, list):
            address = safe_address(self._settings.base_url)
            raise ServerFaultError(f"{address}/models gives no list of models")
        names = [
            model.get("id", model.get("name")) if isinstance(model, dict) else model
            for model in listed
        ]
        return [name for name in names if isinstance(name, str) and name]

    @contextlib.asynccontextmanager
    async def _our_errors(self) -> AsyncIterator[None]:
        """What the SDK raises, as our errors; bounded by the timeout."""
        try:
            async with calling(self._settings.base_url, self._settings.timeout):
                yield
        except KeyRefusedError as error:
            if _withholds_openai_key(self._settings):
                error.remedy = _REMEDY_OPENAI_KEY
            raise
        except (ValueError, RecursionError) as error:
            raise no_completion(str(error), self._secrets) from None

    async def close(self) -> None:
        """Let connections go."""
        await self._client.close()
