# SPDX-License-Identifier: Apache-2.0
"""Encoded images in memory, as long as samples that are under way may want them."""

import asyncio
import contextlib
import ctypes
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from image_grounding.boxes.frames import Transport
from image_grounding.images.encoding import EncodedImage, encode_sizes
from image_grounding.images.source import look, read
from image_grounding.storage.address import is_address
from image_grounding.storage.store import AT_ONCE

Encoded = dict[Transport, EncodedImage]
# Of malloc.h: how many heaps there may be.
_M_ARENA_MAX = -8
# What is known of an image whose bytes are elsewhere takes about so many.
_FACTS_BYTES = 1_000
# Addresses that are not looked at a second time.
_LOOKS_KEPT = 4096


class ImageStore:
    """Encoded images, shared by the samples that use them.

    Keeps the latest ones up to ``budget`` bytes; a file that several samples want at once is
    read once, and decoded once for all of ``transports``. What is at an address is waited for in
    threads of its own, as many as requests to the store may be under way. It decodes on ``cpus``,
    or on all that there are.

    Attributes:
        transports: the sizes at which images are asked for.
    """

    def __init__(self, budget: int = 32_000_000, cpus: int | None = None) -> None:
        self.transports: tuple[Transport, ...] = ()
        self._budget = budget
        self._held = 0
        self._images: OrderedDict[tuple[str, Transport], asyncio.Task[Encoded]] = OrderedDict()
        _use_one_heap()
        self._threads = ThreadPoolExecutor(cpus or os.cpu_count() or 2, "images")
        self._readers = ThreadPoolExecutor(AT_ONCE, "reading")  # they begin as they are needed
        self._looks: OrderedDict[str, asyncio.Future[None]] = OrderedDict()

    async def load(self, source: str, transport: Transport) -> EncodedImage:
        """The image at ``source``, encoded for ``transport``.

        Raises:
            SampleError: as ``encode_sizes``.
        """
        wanted = self.transports if transport in self.transports else (transport,)
        key = (source, wanted[0])
        task = self._images.get(key)
        if task is None:
            task = asyncio.create_task(self._encode(key, wanted))
            # An error nobody waits for any more (an interrupted run) is no news.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._images[key] = task
        else:
            self._images.move_to_end(key)
        encoded = await asyncio.shield(task)
        if transport in encoded:
            return encoded[transport]
        if self._images.get(key) is task:  # the sizes have changed since
            self._drop(key)
        return await self.load(source, transport)

    async def look(self, source: str) -> None:
        """See which version of an image is at its address, once; see ``source.is_unchanged``."""
        if source not in self._looks:
            loop = asyncio.get_running_loop()
            self._looks[source] = loop.run_in_executor(self._readers, look, source)
            if len(self._looks) > _LOOKS_KEPT:
                self._looks.popitem(last=False)
        await asyncio.shield(self._looks[source])

    async def _encode(
        self, key: tuple[str, Transport], transports: tuple[Transport, ...]
    ) -> Encoded:
        try:
            images = await self.encode(key[0], transports)
        except BaseException:
            self._images.pop(key, None)
            raise
        encoded = dict(zip(transports, images, strict=True))
        self._held += _size(encoded)
        while self._held > self._budget and (oldest := self._oldest()):
            self._drop(oldest)
        return encoded

    async def encode(
        self, source: str, transports: tuple[Transport, ...]
    ) -> tuple[EncodedImage, ...]:
        """An image at each of some sizes; raises SampleError as ``encode_sizes``."""
        loop = asyncio.get_running_loop()
        found = None
        if is_address(source):
            found = await loop.run_in_executor(self._readers, read, source)
        return await loop.run_in_executor(self._threads, encode_sizes, source, transports, found)

    def _oldest(self) -> tuple[str, Transport] | None:
        """Of those that are done: the one that was just made is not yet, so that it stays."""
        return next((key for key, task in self._images.items() if task.done()), None)

    def _drop(self, key: tuple[str, Transport]) -> None:
        task = self._images.pop(key, None)
        if task:
            self._held -= _size(task.result())

    def close(self) -> None:
        """Let the threads go."""
        for threads in (self._threads, self._readers):
            threads.shutdown(wait=False, cancel_futures=True)


def _size(encoded: Encoded) -> int:
    """Bytes with their base64; a file that travels as it is counts once for each size."""
    return sum(len(image.data) * 7 // 3 or _FACTS_BYTES for image in encoded.values())


def _use_one_heap() -> None:
    """Let all threads share a heap: glibc gives each its own, which keeps what pictures needed."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
