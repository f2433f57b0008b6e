# SPDX-License-Identifier: Apache-2.0
"""Pictures looked at without decoding them: a reply that is there, or to come, needs no more."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

from image_grounding.boxes.frames import Transport
from image_grounding.images.encoding import EncodedImage
from image_grounding.images.pixels import upright_size
from image_grounding.images.source import read
from image_grounding.images.store import ImageStore
from image_grounding.storage.address import is_address


class Heads(ImageStore):
    """Gives size and fingerprint of image files; what is broken behind its header shows later."""

    def __init__(self) -> None:
        super().__init__()
        self._heads = ThreadPoolExecutor(os.cpu_count() or 2, "heads")

    async def load(self, source: str, transport: Transport) -> EncodedImage:
        """An image without its bytes; see ``ImageStore.load``."""
        loop = asyncio.get_running_loop()
        threads = self._readers if is_address(source) else self._heads
        return await loop.run_in_executor(threads, _head, source, transport)

    def close(self) -> None:
        """Let the threads go."""
        super().close()
        self._heads.shutdown(wait=False, cancel_futures=True)


def _head(source: str, transport: Transport) -> EncodedImage:
    size = upright_size(source)
    return EncodedImage(b"", "", transport.frame(size), read(source).fingerprint)
