# SPDX-License-Identifier: Apache-2.0
"""A folder whose files are objects of a store, too: fetched at once, sent as they change."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from image_grounding.environment import home
from image_grounding.storage.address import problem_with, scheme_of
from image_grounding.storage.facts import Facts
from image_grounding.storage.store import facts_in, filesystem, translated

LOCK_NAME = ".lock"
_SCHEMES = frozenset({"s3", "gs", "gcs", "az", "abfs"})
_NO_RESULTS = frozenset({"report", "evaluation"})


class Mirror:
    """The files of a folder at an address of a store.

    Every object is sent whole: who reads it meanwhile sees the old one or the new one.

    Args:
        address: what the keys of the objects begin with.
        folder: where their files are.
    """

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address.rstrip("/")
        self.folder = folder
        self._store: Any = filesystem(self.address)
        self._sent: dict[str, tuple[int, int]] = {}
        self._fetched: dict[str, Facts] = {}

    def fetch(self) -> None:
        """Write the objects, but for pages and figures, into the folder.

        One listing, and a request for each that is not as it was when it was fetched before.

        Raises:
            StoreError: the store does not give them.
        """
        with translated(self.address):
            found = self._objects()
        for name, facts in found.items():
            if facts.version and self._fetched.get(name) == facts:
                continue
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with translated(self._key(name)):
                self._store.get_file(self._key(name), str(path))
            self._sent[name], self._fetched[name] = _state(path), facts

    def send(self) -> None:
        """Send each file that has changed since; take away objects whose file is gone.

        What other files are made from goes first.

        Raises:
            StoreError: the store does not take them; the next call tries again.
        """
        there = {name: path for name, path in self._files()}
        for name in sorted(there, key=lambda name: (".ckpt/" not in name, name.count("/") == 0)):
            with contextlib.suppress(FileNotFoundError):  # it has gone since
                state = _state(there[name])
                if self._sent.get(name) != state:
                    with translated(self._key(name), writing=True):
                        self._store.put_file(str(there[name]), self._key(name))
                    self._sent[name] = state
        for name in self._sent.keys() - there.keys():
            with translated(self._key(name), writing=True):
                self._store.rm_file(self._key(name))
            del self._sent[name]

    def read(self, name: str) -> bytes | None:
        """An object's bytes; None where there is none.

        Raises:
            StoreError: the store does not give it.
        """
        try:
            with translated(self._key(name)):
                return bytes(self._store.cat_file(self._key(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes, *, new: bool = False) -> bool:
        """Write an object; with ``new`` only where there is none, and whether that was so.

        Raises:
            StoreError: the store does not take it.
        """
        try:
            with translated(self._key(name), writing=True):
                mode = "create" if new else "overwrite"
                self._store.pipe_file(self._key(name), data, mode=mode)
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Take an object away; raises StoreError."""
        with translated(self._key(name), writing=True), contextlib.suppress(FileNotFoundError):
            self._store.rm_file(self._key(name))

    def _key(self, name: str) -> str:
        return f"{self.address}/{name}"

    def _objects(self) -> dict[str, Facts]:
        start = f"{self.address.partition('://')[2]}/"
        found = {}
        for key, facts in self._store.find(self.address, detail=True).items():
            path = key.partition("://")[2] or key
            if path.startswith(start) and _belongs(path.removeprefix(start)):
                found[path.removeprefix(start)] = facts_in(facts)
        return found

    def _files(self) -> Iterator[tuple[str, Path]]:
        for top, _, names in os.walk(self.folder):
            for name in names:
                path = Path(top, name)
                relative = path.relative_to(self.folder).as_posix()
                if _belongs(relative):
                    yield relative, path


def _belongs(name: str) -> bool:
    """Whether it is part of the results; a name that leads elsewhere is none."""
    parts = PurePosixPath(name).parts
    return (
        name == "/".join(parts)
        and ".." not in parts
        and not name.startswith("/")
        and parts[0] not in _NO_RESULTS
        and parts[-1] != LOCK_NAME
        and not parts[-1].endswith(".tmp")
    )


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def problem_with_results_at(address: str) -> str | None:
    """Why results cannot be kept at an address, whatever is there; None where they can be."""
    if scheme_of(address) not in _SCHEMES:
        return f"results cannot be kept at {scheme_of(address)}:// addresses"
    return problem_with(address)


def staging_of(address: str) -> Path:
    """The folder on this machine in which a run makes the results of an address."""
    name = hashlib.sha256(address.encode("utf-8", "replace")).hexdigest()[:20]
    return Path(home(), "results", name)
