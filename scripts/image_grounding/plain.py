# SPDX-License-Identifier: Apache-2.0
"""Dataclasses to plain values that JSON can hold, and back with every type checked."""

from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

T = TypeVar("T")


def to_plain(kind: type[T], value: T) -> Any:
    """The plain form of a value of type ``kind``, which is made of dataclasses."""
    return _adapter(cast(Any, kind)).dump_python(value, mode="json")


def from_plain(kind: type[T], plain: Any) -> T:
    """The value of type ``kind`` that ``to_plain`` made ``plain`` from.

    Raises:
        ValueError: ``plain`` is not of that form.
    """
    return cast(T, _adapter(cast(Any, kind)).validate_python(plain))


def json_reader(kind: Any) -> TypeAdapter[Any]:
    """What reads values of type ``kind`` from JSON, which is faster than by way of plain ones."""
    return _adapter(kind)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
