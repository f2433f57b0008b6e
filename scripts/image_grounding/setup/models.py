# SPDX-License-Identifier: Apache-2.0
"""Which models an endpoint offers."""

import os
import re

from image_grounding.endpoints.errors import (
    error_text,
    network_error,
    safe_address,
    scrub,
    status_error,
)
from image_grounding.errors import EndpointError, EndpointTimeoutError, ServerFaultError
from image_grounding.families import UNKNOWN, family_of

_TIMEOUT_S = 5.0
_MOST = 500

# As of November 2026, the default first; any other name can be given.
GEMINI_MODELS = (
    "gemini-3.5-flash-lite",
    "gemini-3.8-flash",
    "gemini-3.7-flash",
    "gemini-3.6-flash",
    "gemini-3.5-flash",
    "gemini-3.1-pro-preview",
    "gemini-3.1-flash-lite",
)


def list_models(base_url: str, key_variable: str) -> tuple[str, ...]:
    """The names at ``base_url``/models, those that look like vision models first.

    Args:
        base_url: address up to and with ``/v1``.
        key_variable: environment variable with the key, or "".

    Raises:
        EndpointError: it could not be asked, or gave no list.
    """
    import openai  # slow to import

    key = os.environ.get(key_variable) or "EMPTY"
    address = safe_address(base_url)
    try:
        with openai.OpenAI(
            api_key=key, base_url=base_url, max_retries=0, timeout=_TIMEOUT_S
        ) as client:
            page = client.models.list()
    except openai.APITimeoutError:
        message = f"no answer from {address} within {_TIMEOUT_S:g} s"
        raise EndpointTimeoutError(message) from None
    except openai.APIStatusError as error:
        said = scrub(error_text(error.body) or error.response.reason_phrase, key)
        raise status_error(error.status_code, said, error.response.headers) from None
    except openai.APIConnectionError as error:
        raise network_error(error, address) from None
    except (openai.APIError, ValueError):
        raise ServerFaultError(f"{address}/models gives no list of models") from None
    names = [getattr(item, "id", None) for item in getattr(page, "data", None) or ()]
    good = [name for name in names if isinstance(name, str) and name and name.isprintable()]
    if not good:
        raise ServerFaultError(f"{address}/models lists no model")
    return tuple(sorted(good[:_MOST], key=lambda name: not _sees(name)))


def _sees(name: str) -> bool:
    by_name = re.search(r"vl\b|vlm|vision|omni|pixtral|llava|reason", name.lower())
    return bool(by_name) or family_of(name) is not UNKNOWN


def reached(error: EndpointError) -> bool:
    """Whether an HTTP server answered, whatever it said."""
    return error.status is not None or isinstance(error, ServerFaultError)
