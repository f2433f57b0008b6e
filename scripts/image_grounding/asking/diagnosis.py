# SPDX-License-Identifier: Apache-2.0
"""A 404 can mean a wrong model name or a wrong address: the endpoint itself knows which."""

from dataclasses import replace

from rapidfuzz import fuzz, process

from image_grounding.asking.asker import Asker
from image_grounding.asking.endpoints.errors import safe_address
from image_grounding.errors import EndpointError, UnknownModelError
from image_grounding.spec import Vlm

_MAX_LISTED = 12


async def diagnose(error: EndpointError, asker: Asker, vlm: Vlm) -> EndpointError:
    """``error``, or one that says more: what is served, or where the API is."""
    if not isinstance(error, UnknownModelError):
        return error
    try:
        names = await asker.endpoint().models()
    except EndpointError as no_list:
        if vlm.model and vlm.model.lower() in error.server_text.lower():
            return UnknownModelError(
                f"the endpoint does not know the model {vlm.model!r} ({error.server_text})",
                remedy="name a model that it serves; it does not list them, so ask who runs it",
            )
        return await wrong_path(vlm) if isinstance(no_list, UnknownModelError) else error
    return error if vlm.model in names or not names else unknown_model(vlm.model, names)


def unknown_model(model: str, served: list[str]) -> UnknownModelError:
    """The error for a model that an endpoint does not list."""
    shown = ", ".join(served[:_MAX_LISTED]) or "nothing"
    more = f" and {len(served) - _MAX_LISTED} more" if len(served) > _MAX_LISTED else ""
    nearest = nearest_model(model, served)
    remedy = f"name the model {nearest}" if nearest else "name a model that the endpoint serves"
    return UnknownModelError(
        f"the endpoint does not serve {model!r}; it serves {shown}{more}", remedy=remedy
    )


def nearest_model(model: str, served: list[str]) -> str | None:
    """The served name that is most like ``model``, or None where nothing is served."""
    found = process.extractOne(model, served, scorer=fuzz.WRatio, processor=str.lower)
    return found[0] if found else None


async def wrong_path(vlm: Vlm) -> UnknownModelError:
    """The error for an address that has no API, with the address that has one, if found."""
    message = f"there is no such API at {safe_address(vlm.base_url)}"
    for candidate in _other_addresses(vlm.base_url) if vlm.backend == "openai" else ():
        if await _answers(replace(vlm, openai=replace(vlm.openai, base_url=candidate))):
            return UnknownModelError(message, remedy=f"use base_url {safe_address(candidate)}")
    return UnknownModelError(message, remedy="check base_url; it usually ends in /v1, once")


def _other_addresses(base_url: str) -> list[str]:
    bare = base_url.rstrip("/")
    while bare.endswith("/v1"):
        bare = bare.removesuffix("/v1").rstrip("/")
    return [url for url in (f"{bare}/v1", bare, f"{bare}/api/v1") if url != base_url.rstrip("/")]


async def _answers(vlm: Vlm) -> bool:
    from image_grounding.asking import make_endpoint

    endpoint = make_endpoint(vlm, lambda message: None)
    try:
        return bool(await endpoint.models())
    except EndpointError:
        return False
    finally:
        await endpoint.close()
