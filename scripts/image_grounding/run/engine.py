# SPDX-License-Identifier: Apache-2.0
"""How a run's questions are carried: at once, or by way of something that answers later."""

from collections.abc import Callable
from typing import Any, Protocol

from image_grounding.run.pipeline import Pipeline
from image_grounding.spec import Spec
from image_grounding.teachers import Teacher, make_teacher


class Engine(Protocol):
    """What a run takes its teacher from."""

    def make_teacher(self, spec: Spec, say: Callable[[str], None]) -> Teacher:
        """Who is asked; raises SpecError where a spec cannot be done in this way."""
        ...

    async def begin(self) -> None:
        """Before the samples, in their event loop."""
        ...

    async def finish(self, pipeline: Pipeline) -> None:
        """After the samples, before the outputs; what ends the run goes into ``stopped_by``."""
        ...

    def facts(self) -> dict[str, Any]:
        """What the summary says of it besides."""
        ...

    def waiting_text(self) -> str:
        """The status of a run whose samples wait for replies."""
        ...


class Online:
    """Asks at once."""

    def make_teacher(self, spec: Spec, say: Callable[[str], None]) -> Teacher:
        """See ``Engine.make_teacher``."""
        return make_teacher(spec, say)

    async def begin(self) -> None:
        """Nothing is to be done."""

    async def finish(self, pipeline: Pipeline) -> None:
        """Nothing is to be done."""

    def facts(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def waiting_text(self) -> str:
        """No sample waits."""
        return "done"


ONLINE = Online()
