# SPDX-License-Identifier: Apache-2.0
"""Which models an endpoint offers."""

import asyncio
import os
import re
from dataclasses import replace
from functools import cache

from image_grounding.addresses import safe_address, split_query
from image_grounding.asking import make_endpoint
from image_grounding.asking.endpoints.retired import retirement
from image_grounding.errors import EndpointError, ServerFaultError
from image_grounding.families.families import UNKNOWN, family_of
from image_grounding.setup.gemini_models import GEMINI_MODELS
from image_grounding.spec import Vlm, load_spec

_TIMEOUT_S = 5.0
_MOST = 500


def list_models(backend: str, base_url: str, key_variable: str) -> tuple[str, ...]:
    """The names that an endpoint lists, those that look like vision models first.

    Args:
        backend: ``gemini`` or ``openai``.
        base_url: the API's address; "" for Google's own.
        key_variable: environment variable with the key, or "".

    Raises:
        EndpointError: it could not be asked, or gave no list.
    """
    key = os.environ.get(key_variable, "")
    vlm = _default()
    if backend == "gemini":
        gemini = replace(vlm.gemini, base_url=base_url, api_key=key, timeout=_TIMEOUT_S)
        vlm = replace(vlm, backend="gemini", gemini=gemini)
    else:
        address, query = split_query(base_url)
        openai = replace(
            vlm.openai, base_url=address, extra_query=query, api_key=key, timeout=_TIMEOUT_S
        )
        vlm = replace(vlm, backend="openai", openai=openai)
    good = [name for name in asyncio.run(_ask(vlm)) if name and name.isprintable()]
    if not good:
        raise ServerFaultError(f"{safe_address(base_url)}/models lists no model")
    return tuple(sorted(good[:_MOST], key=lambda name: not _seems_to_see(name)))


@cache
def _default() -> Vlm:
    return load_spec(None, ["results_dir=x", "data.input_jsonl=x"], without_keys=True).vlm


async def _ask(vlm: Vlm) -> list[str]:
    endpoint = make_endpoint(vlm, lambda message: None)
    try:
        return await endpoint.models()
    finally:
        await endpoint.close()


def fit_for_boxes(served: tuple[str, ...]) -> tuple[str, ...]:
    """Of the names that Google lists, those to offer: our own order first, then the others."""
    fit = [
        name
        for name in served
        if re.match(r"gemini-\d", name)
        and not re.search(r"embed|tts|live|audio|image|computer|robotics", name)
        and not retirement(name)
    ]
    known = [name for name in GEMINI_MODELS if name in fit]
    return (*known, *(name for name in fit if name not in known))


def _seems_to_see(name: str) -> bool:
    by_name = re.search(r"vl\b|vlm|vision|omni|pixtral|llava|reason", name.lower())
    return bool(by_name) or family_of(name) is not UNKNOWN


def reached(error: EndpointError) -> bool:
    """Whether an HTTP server answered at all."""
    return error.status is not None or isinstance(error, ServerFaultError)
