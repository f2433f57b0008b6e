# SPDX-License-Identifier: Apache-2.0
"""What each backend of a spec can do and needs, without loading the code behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do and needs.

    Attributes:
        needs_endpoint: it asks a model over the network, which may be checked and listed.
        needs_convention: its boxes come in a convention that has to be known or measured.
        is_demonstration: it shows the workflow; its boxes are no training data.
        reports_usage: its answers say how many tokens they took.
    """

    needs_endpoint: bool
    needs_convention: bool
    is_demonstration: bool
    reports_usage: bool


_REMOTE = Capabilities(
    needs_endpoint=True, needs_convention=True, is_demonstration=False, reports_usage=True
)
_EMBEDDED = Capabilities(
    needs_endpoint=False, needs_convention=False, is_demonstration=True, reports_usage=False
)
_BY_BACKEND: Mapping[str, Capabilities] = MappingProxyType(
    {"gemini": _REMOTE, "openai": _REMOTE, "local": _EMBEDDED}
)


def capabilities_of(backend: str) -> Capabilities:
    """The capabilities of ``vlm.backend``; those of an endpoint for a name that is not known."""
    return _BY_BACKEND.get(backend, _REMOTE)
