# SPDX-License-Identifier: Apache-2.0
"""What is at an address: how large it is, which version, its bytes. Blocking, from any thread."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from image_grounding.errors import StoreError
from image_grounding.storage.address import is_web, scheme_of, shown
from image_grounding.storage.facts import Facts, ObjectTooLargeError

# Requests to a store that may be under way at once.
AT_ONCE = 32
_BLOCK = 1 << 24
# What stores call the version of an object's bytes, the surest first.
_VERSIONS = (
    *("md5Hash", "blob_id", "ETag", "etag"),
    *("LastModified", "last_modified", "updated", "mtime"),
)
_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|CONNECTION_STRING", re.IGNORECASE)
_SHORTEST = 8


def look(address: str) -> Facts:
    """What the store says of an object: one request.

    Raises:
        FileNotFoundError: there is none.
        StoreError: the store does not say.
    """
    if is_web(address):
        from image_grounding.storage import web  # slow to import, and few runs need it

        return web.look(address)
    try:
        found: Mapping[str, Any] = _filesystem(scheme_of(address)).info(_path(address))
    except Exception as error:
        raise _ours(error, address) from None
    if found.get("type") == "directory":
        raise FileNotFoundError(address)
    return facts_in(found)


def facts_in(found: Mapping[str, Any]) -> Facts:
    """The facts in what fsspec says of an object."""
    version = next((str(found[name]) for name in _VERSIONS if found.get(name)), None)
    return Facts(found.get("size"), version)


def read(address: str, most: int, *, head: bool = False) -> tuple[bytes, Facts]:
    """The bytes of an object, and what the store says of it: one request, or two.

    Args:
        address: of the object.
        most: no more bytes than this are read.
        head: only so many first bytes are wanted; then nothing is said of the object.

    Raises:
        FileNotFoundError: there is none.
        ObjectTooLargeError: it has more bytes than ``most``, of which more are wanted.
        StoreError: the store does not give it.
    """
    if is_web(address):
        from image_grounding.storage import web

        return web.read(address, most, head=head)
    facts = Facts(None, None) if head else look(address)
    if facts.size is not None and facts.size > most:
        raise ObjectTooLargeError(facts.size)
    # With an end, so that an object that has grown since takes no more memory.
    return b"" if facts.size == 0 else _part(address, 0, most), facts


def blocks(address: str, facts: Facts) -> Iterator[bytes]:
    """The bytes of an object of a store, block by block.

    Args:
        address: of the object.
        facts: what ``look`` has seen of it; whether they still hold is the caller's to see.

    Raises:
        FileNotFoundError: there is none.
        StoreError: the store does not give it.
    """
    for start in range(0, facts.size or 0, _BLOCK):
        yield _part(address, start, min(start + _BLOCK, facts.size or 0))


def _part(address: str, start: int, end: int) -> bytes:
    try:
        found = _filesystem(scheme_of(address)).cat_file(_path(address), start=start, end=end)
    except Exception as error:
        raise _ours(error, address) from None
    return bytes(found)


@lru_cache(maxsize=8)
def _filesystem(scheme: str) -> Any:
    """The one client of all threads; it takes its settings from the store's own variables."""
    import fsspec  # slow to import, and few runs need it

    settings: dict[str, Any] = {}
    if scheme == "s3":
        settings = {"config_kwargs": {"max_pool_connections": AT_ONCE}}
    return fsspec.filesystem(scheme, use_listings_cache=False, **settings)


def _path(address: str) -> str:
    """As fsspec knows it: with its scheme in small letters."""
    return f"{scheme_of(address)}://{address.partition('://')[2]}"


def filesystem(address: str) -> Any:
    """The fsspec file system of an address's store, for who wraps its calls in ``translated``."""
    return _filesystem(scheme_of(address))


@contextlib.contextmanager
def translated(address: str, *, writing: bool = False) -> Iterator[None]:
    """What goes wrong with an object, as ours.

    Raises:
        FileNotFoundError: there is none, or no such bucket.
        FileExistsError: there is one already.
        StoreError: all else.
    """
    try:
        yield
    except FileExistsError:
        raise
    except Exception as error:
        found = _ours(error, address)
        if writing and isinstance(found, FileNotFoundError):
            found = StoreError(f"the store does not take {shown(address)}: there is no such bucket")
        raise found from None


def _ours(error: Exception, address: str) -> Exception:
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return FileNotFoundError(address)
    words = (isinstance(error, OSError) and error.strerror) or str(error)
    text = scrubbed(words.strip().partition("\n")[0]) or type(error).__name__
    refused = isinstance(error, PermissionError) or "credentials" in text.lower()
    return StoreError(f"the store does not give {shown(address)}: {text[:300]}", refused=refused)


def scrubbed(text: str) -> str:
    """``text`` without what the environment holds under the names of secrets."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _SECRET_NAME.search(name) and value in text:
            text = text.replace(value, "***")
    return text
