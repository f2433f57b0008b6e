# SPDX-License-Identifier: Apache-2.0
"""What each backend can do and needs: pure data, asked instead of comparing names."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do.

    Attributes:
        needs_endpoint: it asks a server, which can be checked.
        needs_convention: its boxes come in a convention that must be known.
        is_demonstration: its annotations are no data to train on.
        reports_usage: it counts requests and tokens.
    """

    needs_endpoint: bool = True
    needs_convention: bool = True
    is_demonstration: bool = False
    reports_usage: bool = True


_EMBEDDED = Capabilities(
    needs_endpoint=False, needs_convention=False, is_demonstration=True, reports_usage=False
)
_OTHERS: Mapping[str, Capabilities] = MappingProxyType({"local": _EMBEDDED})


def capabilities_of(backend: Any) -> Capabilities:
    """The capabilities of a backend by its name; what is unknown asks an endpoint."""
    return _OTHERS.get(backend, Capabilities()) if isinstance(backend, str) else Capabilities()
