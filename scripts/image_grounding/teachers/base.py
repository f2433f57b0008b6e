# SPDX-License-Identifier: Apache-2.0
"""The one interface of everything that annotates."""

from dataclasses import dataclass
from typing import Any, Protocol

from image_grounding.errors import EndpointError
from image_grounding.images.store import ImageStore
from image_grounding.spec.capabilities import Capabilities
from image_grounding.steps.drive import Carrier
from image_grounding.steps.profile import Profile


@dataclass(frozen=True)
class Traffic:
    """How much is being asked.

    Attributes:
        in_flight: requests now.
        limit: how many there may be.
        why: why not more, where that is being found.
        requests: sent so far.
        retries: repeats among them.
        tokens: sent and received.
        answered: whether anything was answered yet.
        cost: of the run so far; None where the prices are unknown.
        silent: for how many seconds it has not answered, while that is an outage.
        waiting: for what all requests wait before they are sent, and how long; else empty.
    """

    in_flight: int = 0
    limit: int = 0
    why: str = ""
    requests: int = 0
    retries: int = 0
    tokens: int = 0
    answered: bool = True
    cost: float | None = None
    silent: float = 0.0
    waiting: str = ""


class Teacher(Carrier, Protocol):
    """Carries questions, and says how it is to be asked.

    Attributes:
        capabilities: what it can do and needs.
        images: the pictures that its questions refer to.
    """

    capabilities: Capabilities
    images: ImageStore

    @property
    def profile(self) -> Profile:
        """How it is asked and answers."""
        ...

    async def prepare(self, *, boxes: bool) -> None:
        """Make sure, before the first sample is spent, that it can do the work.

        Args:
            boxes: whether boxes will be asked for.

        Raises:
            EndpointError: it cannot.
        """
        ...

    async def recheck(self) -> bool:
        """Whether boxes still come in the convention that they are read in.

        Where they do not, the convention is measured anew, and holds from now on.

        Raises:
            EndpointError: as ``prepare``.
        """
        ...

    async def diagnose(self, error: EndpointError) -> EndpointError:
        """``error``, or one that says more, once it has ended a run."""
        ...

    def provenance(self) -> dict[str, Any]:
        """What its results depend on: model, prompt version, convention."""
        ...

    def facts(self) -> dict[str, Any]:
        """Provenance, and what else a summary should hold of the teacher."""
        ...

    def traffic(self) -> Traffic:
        """How much is being asked."""
        ...

    def usage(self) -> dict[str, Any] | None:
        """Requests, tokens and cost of the run; None where there is nothing to report."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...
