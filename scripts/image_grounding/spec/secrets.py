# SPDX-License-Identifier: Apache-2.0
"""Which values of a spec are secrets, and what is shown in their place."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from image_grounding.addresses import safe_address, split_query

# Sections whose keys are the endpoint's own: only their names and origins tell what is secret.
EXTRAS = ("extra_body", "extra_query", "extra_headers")
# Parameters of an address's query that are no secret; all others may be.
HARMLESS_QUERY = ("api-version",)
_CREDENTIAL = re.compile(
    r"(^|[-_.])(api-?_?key|key|access-?_?token|token|password|secret|auth|authorization|cookie"
    r"|credentials?|signature|sig)$",
    re.IGNORECASE,
)
SHOWN = "(set)"
# What stands for a key where none is needed: clients want one.
NO_KEY = "EMPTY"
# Shorter texts from the environment are settings, such as true, and not looked for in replies.
SHORTEST = 8


class Secret(str):
    """A text that is sent to the endpoint and shown nowhere."""

    __slots__ = ()

    def __repr__(self) -> str:
        """What may be shown of it."""
        return SHOWN


def names_credential(name: str) -> bool:
    """Whether a value under this name is a credential: ``x-api-key``, ``Authorization``."""
    return bool(_CREDENTIAL.search(name))


def mark_secrets(values: Any, written: Any, name: str = "") -> Any:
    """``values`` with each text that is a secret as a ``Secret``.

    Args:
        values: a section of a spec, with its variables filled in.
        written: the same as it was written: what stands there as ``${...}`` is a secret.
        name: the key that it stands under.
    """
    if isinstance(values, dict):
        texts = written if isinstance(written, dict) else dict.fromkeys(values, written)
        return {key: mark_secrets(item, texts.get(key), key) for key, item in values.items()}
    if isinstance(values, list):
        parts = written if isinstance(written, list) else [written] * len(values)
        return [mark_secrets(item, part, name) for item, part in zip(values, parts, strict=True)]
    hidden = names_credential(name) or (isinstance(written, str) and "${" in written)
    return Secret(values) if hidden and isinstance(values, str) else values


def secrets_of(*sections: Any) -> Iterator[str]:
    """The secrets that ``mark_secrets`` has marked."""
    for section in sections:
        if isinstance(section, Secret):
            yield str(section)
        elif isinstance(section, dict | list):
            yield from secrets_of(*(section.values() if isinstance(section, dict) else section))


def credentials_in(url: str) -> list[str]:
    """The user name and password in an address, as they stand there, and credentials of its query.

    Args:
        url: need not be a valid one; may hold ``${...}``.
    """
    user = re.match(r"(?:\w+://)?([^/?#]*)@", url)
    query = split_query(url)[1]
    found = [value for name, value in query.items() if value and names_credential(name)]
    return [*([user[1]] if user and user[1] else []), *found]


def address_secrets(url: str) -> list[str]:
    """What an address holds that must be shown nowhere, decoded; short words are no secrets."""
    texts = [unquote(text.partition(":")[2] or text) for text in credentials_in(url)]
    return [text for text in texts if len(text) >= SHORTEST]


def redact(values: dict[str, Any]) -> dict[str, Any]:
    """A copy of plain spec values without secrets, nor user names and queries in addresses."""
    result: dict[str, Any] = _clean(values, "")
    return result


def _clean(value: Any, name: str) -> Any:
    if name == "extra_headers":
        return dict.fromkeys(value, SHOWN)
    if isinstance(value, dict):
        return {key: _clean(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, "") for item in value]
    if isinstance(value, Secret) or (name == "api_key" and value not in ("", NO_KEY)):
        return SHOWN
    return safe_address(value) if name == "base_url" else value


def literal_credentials(
    values: Mapping[Any, Any], prefix: str = "", *, everywhere: bool = False
) -> Iterator[str]:
    """The names under which keys and other credentials are written out.

    Args:
        values: a spec as it was written.
        prefix: of the names.
        everywhere: look at all names, and not only at ``api_key`` and those of the extras.
    """
    for name, value in values.items():
        if name == "api_key" or (everywhere and names_credential(str(name))):
            if value and value != NO_KEY and "${" not in str(value):
                yield f"{prefix}{name}"
        elif name == "base_url" and any("${" not in text for text in credentials_in(str(value))):
            yield f"{prefix}{name}"
        elif isinstance(value, dict):
            below = everywhere or name in EXTRAS
            yield from literal_credentials(value, f"{prefix}{name}.", everywhere=below)
