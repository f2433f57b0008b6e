# SPDX-License-Identifier: Apache-2.0
"""Addresses of APIs: trimmed, taken apart, and without what may be a secret."""

import re
from urllib.parse import parse_qsl


def safe_address(url: str) -> str:
    """``url`` without user name, password, query and fragment; it need not be a valid one."""
    match = re.match(r"(\w+://)?(?:[^/?#]*@)?([^?#]*)", url)
    return f"{match.group(1) or ''}{match.group(2)}" if match else ""


def split_query(url: str) -> tuple[str, dict[str, str]]:
    """``url`` without query and fragment, and the parameters of its query."""
    address, _, rest = url.partition("#")[0].partition("?")
    return address, dict(parse_qsl(rest, keep_blank_values=True))


def trim_base_url(url: str) -> str:
    """``url`` without white space, a trailing slash, or ``/chat/completions``; its query stays."""
    address, mark, query = url.strip().partition("?")
    return address.rstrip("/").removesuffix("/chat/completions").rstrip("/") + mark + query
