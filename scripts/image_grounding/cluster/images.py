# SPDX-License-Identifier: Apache-2.0
"""Pictures that workers read and encode; here is only what is known of them."""

from image_grounding.boxes.frames import Transport
from image_grounding.cluster.pool import Pool
from image_grounding.errors import RequestLostError
from image_grounding.images.encoding import EncodedImage
from image_grounding.images.store import ImageStore

# Bytes of what is known of images: some thousand, more than a run has under way.
_BUDGET = 8_000_000


class RemoteImages(ImageStore):
    """Gives images without their bytes, which stay with the workers of ``pool``."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(_BUDGET)
        self._pool = pool

    async def encode(
        self, source: str, transports: tuple[Transport, ...]
    ) -> tuple[EncodedImage, ...]:
        """See ``ImageStore.encode``; raises ClusterError where there is no worker."""
        while True:
            try:
                images: tuple[EncodedImage, ...] = await self._pool.call(
                    "load", source, source, transports
                )
            except RequestLostError:
                continue
            return images
