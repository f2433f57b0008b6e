# SPDX-License-Identifier: Apache-2.0
"""What a worker of Ray does: make pictures ready, and send requests with them."""

import contextlib
import os
from dataclasses import replace

from image_grounding.asking import Endpoint, make_endpoint
from image_grounding.asking.endpoints.negotiation import Terms
from image_grounding.boxes.frames import Transport
from image_grounding.cluster.trouble import Trouble, as_trouble
from image_grounding.images.encoding import EncodedImage
from image_grounding.images.store import ImageStore
from image_grounding.spec import Vlm
from image_grounding.steps.question import Question, Reply

# Bytes of the images that one worker holds for the requests to come: of some hundred at a time.
_BUDGET = 200_000_000


class Worker:
    """Does its work in one event loop, many calls at a time; what fails comes back as a value.

    Args:
        vlm: whom to ask; with its key.
        folder: where relative paths start, if it is there.
    """

    def __init__(self, vlm: Vlm, folder: str) -> None:
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self._vlm = vlm
        self._images = ImageStore(_BUDGET)
        self._endpoint: Endpoint | None = None

    async def load(
        self, source: str, transports: tuple[Transport, ...]
    ) -> tuple[EncodedImage, ...] | Trouble:
        """An image at each size, without the bytes, which stay here for the requests to come."""
        self._images.transports = transports
        try:
            images = [await self._images.load(source, transport) for transport in transports]
        except Exception as error:
            return as_trouble(error)
        return tuple(replace(image, data=b"", held_elsewhere=image.length) for image in images)

    async def send(self, question: Question, terms: Terms) -> Reply | Trouble:
        """One request; see ``Endpoint.send``. A picture that is not held any more is read again."""
        try:
            picture = question.picture
            image = await self._images.load(picture.source, picture.transport) if picture else None
            if self._endpoint is None:
                self._endpoint = make_endpoint(self._vlm, _say_nothing)
            return await self._endpoint.send(self._endpoint.request(question, image, terms))
        except Exception as error:
            return as_trouble(error)


def _say_nothing(message: str) -> None:
    """What there is to say is said where the run is."""
