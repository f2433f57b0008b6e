# SPDX-License-Identifier: Apache-2.0
"""How a teacher is asked: all that a step needs to know of it."""

from dataclasses import dataclass

from image_grounding.boxes.frames import Transport
from image_grounding.families.families import UNKNOWN, Family
from image_grounding.steps.question import PictureRef


@dataclass(frozen=True)
class Profile:
    """How a teacher is asked and answers.

    Attributes:
        family: the wording and the box key that its prompts use.
        convention: what its boxes are written in.
        transport: the size of pictures for boxes.
        overview: the size of pictures for a look at the whole; None for text alone.
        single_pass: step 0's question asks for what step 1 asks for, too.
        captions: of one picture, so many are asked about in one request of step 0.
    """

    family: Family
    convention: str
    transport: Transport
    overview: Transport | None = None
    single_pass: bool = False
    captions: int = 1

    @property
    def transports(self) -> tuple[Transport, ...]:
        """Every size at which a picture may be asked for."""
        if self.overview is None or self.single_pass:
            return (self.transport,)
        return (self.transport, self.overview)

    def picture(self, source: str) -> PictureRef:
        """The picture at ``source`` for boxes."""
        return PictureRef(source, self.transport)

    def small_picture(self, source: str) -> PictureRef | None:
        """The picture at ``source`` for a look at the whole; None for text alone."""
        return PictureRef(source, self.overview, "low") if self.overview else None


# For a carrier that reads no prompt and looks at every picture as it is.
PLAIN = Profile(UNKNOWN, "norm1_xyxy", Transport(max_pixels=1_000_000))
