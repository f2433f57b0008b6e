# SPDX-License-Identifier: Apache-2.0
"""Encoded images in memory, as long as samples that are under way may want them."""

import asyncio
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from image_grounding.boxes.frames import Transport
from image_grounding.images.encoding import EncodedImage, encode_image


class ImageStore:
    """Encoded images, shared by the samples that use them.

    Keeps the latest ones up to ``budget`` bytes; a file that several samples want at once is
    read once.
    """

    def __init__(self, budget: int = 32_000_000) -> None:
        self._budget = budget
        self._held = 0
        self._images: OrderedDict[tuple[Path, Transport], asyncio.Task[EncodedImage]] = (
            OrderedDict()
        )
        self._threads = ThreadPoolExecutor(os.cpu_count() or 2, "images")

    async def load(self, path: Path, transport: Transport) -> EncodedImage:
        """The image at ``path``, encoded for ``transport``.

        Raises:
            SampleError: as ``encode_image``.
        """
        key = (path, transport)
        task = self._images.get(key)
        if task is None:
            task = asyncio.create_task(self._encode(key))
            # An error nobody waits for any more (an interrupted run) is no news.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._images[key] = task
        else:
            self._images.move_to_end(key)
        return await asyncio.shield(task)

    async def _encode(self, key: tuple[Path, Transport]) -> EncodedImage:
        loop = asyncio.get_running_loop()
        try:
            image = await loop.run_in_executor(self._threads, encode_image, *key)
        except BaseException:
            self._images.pop(key, None)
            raise
        self._held += len(image.data)
        for oldest, task in list(self._images.items()):
            if self._held <= self._budget:
                break
            if task.done():  # this one is not yet, so that it stays
                self._held -= len(self._images.pop(oldest).result().data)
        return image

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)
