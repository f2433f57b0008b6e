# SPDX-License-Identifier: Apache-2.0
"""Addresses of objects: which there are, what is below what, and how they are put together."""

import re
from functools import lru_cache
from importlib.util import find_spec
from urllib.parse import quote, unquote, urlsplit

from image_grounding.addresses import safe_address
from image_grounding.environment import extra_needed

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
# By scheme: the package that reads it, and the extra that installs the package.
_STORES = {
    "s3": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
    "az": ("adlfs", "az"),
    "abfs": ("adlfs", "az"),
    "hf": ("huggingface_hub", "hf"),
}
_WEB = frozenset({"http", "https"})


def is_address(source: object) -> bool:
    """Whether ``source`` is written as an address, of whatever scheme."""
    return isinstance(source, str) and "://" in source and _ADDRESS.match(source) is not None


def scheme_of(address: str) -> str:
    """The scheme of an address, in small letters."""
    return address.partition("://")[0].lower()


def is_web(address: str) -> bool:
    """Whether a web server gives it out."""
    return scheme_of(address) in _WEB


def shown(address: str) -> str:
    """``address`` as a message shows it: without what may be a secret."""
    return safe_address(address) if is_web(address) else address


def problem_with(address: str) -> str | None:
    """Why nothing can be read at an address, whatever is there; None where it can be."""
    scheme = scheme_of(address)
    if scheme not in _STORES and scheme not in _WEB:
        return f"nothing can be read at {scheme}:// addresses"
    rest = address.partition("://")[2]
    if is_web(address):
        try:
            parts = urlsplit(address)
            named = parts.hostname and parts.port != 0
        except ValueError:
            named = False
        if not named:
            return "the address names no host"
        if "@" in parts.netloc:
            return "an address must not hold a user or a password"
    elif not rest.split("/")[0] or rest.startswith("/"):
        return "the address names no bucket"
    return _lacking(scheme)


def problem_with_lines_at(address: str) -> str | None:
    """As ``problem_with``, of an input: no web server gives one."""
    return "only pictures are read from web servers" if is_web(address) else problem_with(address)


@lru_cache(maxsize=16)
def _lacking(scheme: str) -> str | None:
    package, extra = _STORES.get(scheme, ("urllib3", ""))
    return None if find_spec(package) else extra_needed(f"reading {scheme}://", extra)


def may_read(address: str, root: str, *, anywhere: bool) -> bool:
    """Whether pictures may be read at an address that a line of an input names.

    Args:
        address: it.
        root: where pictures start; only what is below it is read.
        anywhere: so is everything else.
    """
    return anywhere or (is_address(root) and is_below(address, root))


def join(root: str, path: str) -> str:
    """The address of ``path``, which is relative, below the address ``root``."""
    if not is_web(root):
        return f"{root.rstrip('/')}/{path}"
    address, mark, query = root.partition("?")
    return f"{address.rstrip('/')}/{quote(path)}{mark}{query}"


def root_of(image_root: str, source: str) -> str:
    """Where relative image paths start: ``image_root``, else beside an input at an address."""
    return image_root or (parent(source) if is_address(source) else "")


def parent(address: str) -> str:
    """The address of what ``address`` is in."""
    return address.partition("?")[0].rpartition("/")[0] if is_web(address) else _parent(address)


def _parent(address: str) -> str:
    head, _, tail = address.partition("://")
    return f"{head}://{tail.rpartition('/')[0]}"


def is_below(address: str, root: str) -> bool:
    """Whether ``address`` is below the address ``root``, however its parts are written."""
    if scheme_of(address) != scheme_of(root):
        return False
    start, rest = root.partition("?")[0].partition("://")[2].rstrip("/"), address
    rest = address.partition("://")[2]
    if not rest.startswith(f"{start}/"):
        return False
    return not leaves(rest[len(start) :], web=is_web(address))


def leaves(path: str, *, web: bool) -> bool:
    """Whether a relative path may lead out of where it starts.

    Args:
        path: the path.
        web: it goes to a web server, which decodes it and may take a backslash for a slash.
    """
    if not web:
        return ".." in path.split("/")
    return any(part in ("..", ".") for part in re.split(r"[/\\?#]", unquote(unquote(path))))
