# SPDX-License-Identifier: Apache-2.0
"""The one interface of everything that annotates."""

from collections.abc import Sequence
from typing import Any, Protocol

from image_grounding.boxes.frames import Transport
from image_grounding.errors import EndpointError
from image_grounding.images.encoding import EncodedImage
from image_grounding.steps.annotations import Expression, Extraction, Grounding


class Teacher(Protocol):
    """Finds referring expressions and their boxes."""

    @property
    def transport(self) -> Transport:
        """The size that it wants images at."""
        ...

    async def prepare(self, *, grounding: bool) -> None:
        """Make sure, before the first sample is spent, that it can do the work.

        Args:
            grounding: whether boxes will be asked for.

        Raises:
            EndpointError: it cannot.
        """
        ...

    async def explained(self, error: EndpointError) -> EndpointError:
        """``error``, or one that says more, once it has ended a run."""
        ...

    async def extract(self, caption: str, image: EncodedImage) -> Extraction:
        """Step 0: clean a caption and list its referring expressions.

        Raises:
            SampleError: no usable answer for this sample.
            EndpointError: the endpoint failed.
        """
        ...

    async def ground(self, expressions: Sequence[Expression], image: EncodedImage) -> Grounding:
        """Step 1: boxes for each expression, in upright original pixels.

        Raises:
            SampleError, EndpointError: as ``extract``.
        """
        ...

    def provenance(self) -> dict[str, Any]:
        """What its results depend on: model, prompt version, convention."""
        ...

    def facts(self) -> dict[str, Any]:
        """Provenance, and what else a summary should say of the teacher."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...
