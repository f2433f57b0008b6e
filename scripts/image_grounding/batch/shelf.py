# SPDX-License-Identifier: Apache-2.0
"""Pictures that a provider keeps for a while: uploaded once for all questions that show them."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable

from image_grounding.batch.journal import Journal
from image_grounding.images.encoding import EncodedImage

Upload = Callable[[EncodedImage], Awaitable[str]]


class Shelf:
    """Where uploaded pictures lie, by their bytes; remembered over runs.

    Args:
        journal: remembers them.
        kept_s: so many seconds after its upload, a picture may serve another question: long
            enough before the provider forgets it that a job has ended by then.
        upload: brings a picture to the provider; its address there.
    """

    def __init__(self, journal: Journal, kept_s: float, upload: Upload) -> None:
        self._journal = journal
        self._kept_s = kept_s
        self._upload = upload
        self._under_way: dict[str, asyncio.Task[str]] = {}

    async def address(self, image: EncodedImage) -> str:
        """Where a picture lies, once it does; raises EndpointError."""
        digest = hashlib.sha256(image.data).hexdigest()
        if known := self._journal.picture(digest, time.time()):
            return known
        task = self._under_way.get(digest)
        if task is None:
            task = asyncio.create_task(self._bring(digest, image))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._under_way[digest] = task
        return await asyncio.shield(task)

    async def _bring(self, digest: str, image: EncodedImage) -> str:
        try:
            address = await self._upload(image)
            self._journal.keep_picture(digest, address, time.time() + self._kept_s)
            return address
        finally:
            del self._under_way[digest]
